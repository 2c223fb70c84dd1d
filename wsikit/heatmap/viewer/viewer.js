"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const slide = { width: data.slide.size[0], height: data.slide.size[1], mpp: data.slide.mpp, known: data.slide.known };
  const picture = data.picture;
  const BARE = 65535;
  const IN_STRIP = 24;
  const byId = (id) => document.getElementById(id);

  // Arrays come as base64 of little-endian numbers, which is what every browser's machine has.
  function bytes(text) {
    const binary = atob(text);
    const out = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) out[i] = binary.charCodeAt(i);
    return out;
  }
  const numbers = (Kind, text) => new Kind(bytes(text).buffer);

  const layers = data.layers.map(function (raw) {
    const layer = {
      name: raw.name, meaning: raw.meaning, kind: raw.kind, unit: raw.unit,
      side: raw.side, window: raw.window, margin: raw.margin,
      x: numbers(Int32Array, raw.x), y: numbers(Int32Array, raw.y),
      value: numbers(Float32Array, raw.value), percentile: numbers(Float32Array, raw.percentile),
      rank: numbers(Int32Array, raw.rank), kept: bytes(raw.kept),
    };
    layer.highest = layer.value.reduce((a, b) => Math.max(a, b), 0) || 1;
    layer.order = Array.from(layer.value.keys()).sort((a, b) => layer.value[b] - layer.value[a] || a - b);
    layer.views = raw.views.map((view) => ({
      kind: view.kind, words: view.words, start: view.start, step: view.step, shape: view.shape,
      cells: numbers(Uint16Array, view.cells),
    }));
    return layer;
  });
  const maps = Object.fromEntries(Object.entries(data.maps).map(([name, text]) => [name, bytes(text)]));
  const names = Object.keys(maps);

  const state = {
    run: 0, view: 0, map: data.map, opacity: Math.round(data.alpha * 100), threshold: 0,
    show: true, truth: data.truth !== null, ends: "top", patch: -1,
  };
  const layer = () => layers[state.run];
  const view = () => layer().views[state.view];

  // What a colour stands for, 0..1, as the cells hold it.
  function shown(i) {
    const from = layer();
    if (view().kind === "percentile") return from.percentile[i] / 100;
    if (view().kind === "share") return from.value[i] / from.highest;
    return Math.min(1, Math.max(0, from.value[i]));
  }
  const percent = () => view().kind === "percentile";

  // ---- Files: beside the page, or inside it -------------------------------------------------
  const inline = (name) => "data:image/jpeg;base64," + data.inline[name];
  function fileUrl(name) {
    if (data.inline !== null) return inline(name);
    return new URL(name, location.href.split("#")[0]).href;
  }
  const pictures = new Map();
  function load(name) {
    if (!pictures.has(name)) {
      if (pictures.size > 300) pictures.delete(pictures.keys().next().value);
      pictures.set(name, new Promise(function (resolve, reject) {
        const image = new Image();
        image.onload = () => resolve(image);
        image.onerror = () => reject(new Error(name));
        image.src = fileUrl(name);
      }));
    }
    return pictures.get(name);
  }
  function broken(name) {
    byId("broken").textContent = "A file of this page is missing: " + name + ". Copy the whole folder again.";
    byId("broken").hidden = false;
  }

  // ---- The slide ------------------------------------------------------------------------------
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  holdStrip();
  const viewer = OpenSeadragon({
    element: byId("slide"), drawer: "canvas", prefixUrl: "", showNavigationControl: false,
    showNavigator: true, navigatorPosition: "TOP_RIGHT", navigatorSizeRatio: 0.16, navigatorAutoFade: false,
    navigatorBackground: "#ffffff", navigatorOpacity: 1, navigatorBorderColor: "#57606a",
    navigatorDisplayRegionColor: "#0b5cad",
    keyboardNavEnabled: false, animationTime: still ? 0 : 0.4, maxZoomPixelRatio: 8,
    minZoomImageRatio: 0.6, visibilityRatio: 0.3, gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    gestureSettingsPen: { clickToZoom: false }, gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: true },
    tileSources: {
      width: picture.size[0], height: picture.size[1], tileSize: picture.tile, tileOverlap: 0,
      minLevel: 0, maxLevel: picture.levels - 1,
      getTileUrl: (level, x, y) => fileUrl("tiles/" + level + "/" + x + "_" + y + ".jpg"),
    },
  });
  viewer.addHandler("tile-load-failed", (event) => broken(event.tile.getUrl().slice(-60)));

  // The viewer measures both axes in widths of the picture; its pixels are square in micrometres.
  const perWidth = { x: 1 / slide.width, y: 1 / (picture.scale[1] * picture.size[0]) };
  const toView = (x, y) => new OpenSeadragon.Point(x * perWidth.x, y * perWidth.y);
  const toSlide = (point) => ({ x: point.x / perWidth.x, y: point.y / perWidth.y });
  const toScreen = (x, y) => viewer.viewport.pixelFromPoint(toView(x, y), true);
  const umPerWidth = slide.width * slide.mpp[0];
  function umPerScreenPx(current) {
    return viewer.viewport.getBounds(current).width * umPerWidth / viewer.viewport.getContainerSize().x;
  }

  function addCanvas(id) {
    const canvas = document.createElement("canvas");
    canvas.className = "layer";
    canvas.id = id;
    canvas.setAttribute("aria-hidden", "true");
    viewer.canvas.appendChild(canvas);
    return canvas;
  }
  const heat = addCanvas("heat");
  const marks = addCanvas("marks");

  function begin(canvas) {
    const size = viewer.viewport.getContainerSize();
    const dense = window.devicePixelRatio || 1;
    const width = Math.round(size.x * dense), height = Math.round(size.y * dense);
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    context.scale(dense, dense);
    return context;
  }

  // One pixel a cell; painted anew when colours change, only enlarged when the view does.
  const cells = document.createElement("canvas");
  function paintCells() {
    const from = view(), colours = maps[state.map];
    const [rows, cols] = from.shape;
    cells.width = cols;
    cells.height = rows;
    const context = cells.getContext("2d");
    const image = context.createImageData(cols, rows);
    const least = Math.round(state.threshold / 100 * (BARE - 1));
    for (let i = 0; i < from.cells.length; i++) {
      const value = from.cells[i];
      if (value === BARE || value < least) continue;
      const step = 3 * Math.round(value / (BARE - 1) * 255);
      image.data[4 * i] = colours[step];
      image.data[4 * i + 1] = colours[step + 1];
      image.data[4 * i + 2] = colours[step + 2];
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  function drawHeat() {
    const context = begin(heat);
    heat.style.opacity = state.show ? state.opacity / 100 : 0;
    const from = view();
    const [rows, cols] = from.shape;
    const bounds = viewer.viewport.getBounds(true);
    const low = toSlide(bounds.getTopLeft()), high = toSlide(bounds.getBottomRight());
    const clamp = (value, top) => Math.min(top, Math.max(0, value));
    const left = clamp(Math.floor((low.x - from.start[0]) / from.step[0]), cols);
    const right = clamp(Math.ceil((high.x - from.start[0]) / from.step[0]), cols);
    const top = clamp(Math.floor((low.y - from.start[1]) / from.step[1]), rows);
    const bottom = clamp(Math.ceil((high.y - from.start[1]) / from.step[1]), rows);
    if (right <= left || bottom <= top) return;
    const corner = toScreen(from.start[0] + left * from.step[0], from.start[1] + top * from.step[1]);
    const end = toScreen(from.start[0] + right * from.step[0], from.start[1] + bottom * from.step[1]);
    // A patch may reach beyond the slide; there is nothing to colour there.
    const first = toScreen(0, 0), last = toScreen(slide.width, slide.height);
    context.save();
    context.beginPath();
    context.rect(first.x, first.y, last.x - first.x, last.y - first.y);
    context.clip();
    context.imageSmoothingEnabled = false;
    context.drawImage(cells, left, top, right - left, bottom - top, corner.x, corner.y, end.x - corner.x, end.y - corner.y);
    context.restore();
  }

  function twice(context, width) {
    context.lineJoin = "round";
    context.strokeStyle = "#ffffff";
    context.lineWidth = width + 2.5;
    context.stroke();
    context.strokeStyle = "#000000";
    context.lineWidth = width;
    context.stroke();
  }

  function drawMarks() {
    const context = begin(marks);
    if (data.truth !== null && state.truth) {
      context.beginPath();
      for (const ring of data.truth.rings) {
        for (let i = 0; i < ring.length; i += 2) {
          const at = toScreen(ring[i], ring[i + 1]);
          if (i === 0) context.moveTo(at.x, at.y); else context.lineTo(at.x, at.y);
        }
        context.closePath();
      }
      context.setLineDash([]);
      twice(context, 1.6);
    }
    if (state.patch >= 0) {
      const from = layer(), i = state.patch;
      const low = toScreen(from.x[i], from.y[i]);
      const high = toScreen(from.x[i] + from.side[0], from.y[i] + from.side[1]);
      context.beginPath();
      context.rect(low.x, low.y, high.x - low.x, high.y - low.y);
      twice(context, 3);
      if (high.x - low.x < 14) {  // too small to be found by its border alone
        context.beginPath();
        context.arc((low.x + high.x) / 2, (low.y + high.y) / 2, 14, 0, 2 * Math.PI);
        twice(context, 2);
      }
    }
  }

  function drawScale() {
    const um = umPerScreenPx(true);
    byId("scale").hidden = !slide.known;
    if (!slide.known) {
      byId("where").textContent = (um / slide.mpp[0]).toPrecision(3) + " px of the slide per screen pixel; \u00b5m per px not known";
      return;
    }
    const most = 160 * um;
    const power = Math.pow(10, Math.floor(Math.log10(most)));
    const length = [5, 2, 1].map((step) => step * power).find((step) => step <= most * (1 + 1e-9));
    byId("scale-bar").style.width = length / um + "px";
    byId("scale-bar").dataset.um = String(length);
    const digits = (value) => String(Number(value.toPrecision(3)));
    byId("scale-words").textContent = length >= 1000 ? digits(length / 1000) + " mm" : digits(length) + " \u00b5m";
    byId("where").textContent = um.toPrecision(3) + " \u00b5m per screen pixel";
  }

  function draw() {
    drawHeat();
    drawMarks();
    drawScale();
  }
  viewer.addHandler("update-viewport", draw);

  // ---- Patches --------------------------------------------------------------------------------
  function patchAt(x, y) {
    const from = layer();
    let best = -1, least = Infinity;
    for (let i = 0; i < from.x.length; i++) {
      const right = x - from.x[i], down = y - from.y[i];
      if (right < 0 || down < 0 || right >= from.side[0] || down >= from.side[1]) continue;
      const far = Math.hypot(right - from.side[0] / 2, down - from.side[1] / 2);
      if (far < least) { best = i; least = far; }
    }
    return best;
  }
  function patchFrom(from, x, y) {
    for (let i = 0; i < from.x.length; i++) if (from.x[i] === x && from.y[i] === y) return i;
    return -1;
  }
  const patchName = (from, i) => "patches/" + (from.x[i] - from.margin[0]) + "_" + (from.y[i] - from.margin[1]) + "_" + from.window[0] + "x" + from.window[1] + ".jpg";

  // Put a patch on a canvas: from its own file, else enlarged from the picture's tiles.
  async function paintPatch(canvas, from, i) {
    const name = patchName(from, i);
    canvas.dataset.patch = name;
    try {
      if (from.kept[i]) {
        const image = await load(name);
        if (canvas.dataset.patch !== name) return;
        const fixed = canvas.dataset.side;
        canvas.width = fixed || image.naturalWidth;
        canvas.height = fixed || image.naturalHeight;
        canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      } else {
        await paintFromTiles(canvas, from, i, name);
      }
      if (canvas.dataset.patch === name) canvas.dataset.ready = name;
    } catch (error) {
      broken(error.message);
    }
  }
  async function paintFromTiles(canvas, from, i, name) {
    const wanted = [from.window[0] * slide.mpp[0] / data.patch_mpp[0], from.window[1] * slide.mpp[1] / data.patch_mpp[1]];
    canvas.width = canvas.dataset.side || Math.round(wanted[0]);
    canvas.height = canvas.dataset.side || Math.round(wanted[1]);
    const finest = picture.levels - 1;
    let level = finest;
    const across = from.window[0] / picture.scale[0];
    while (level > 0 && across / Math.pow(2, finest - level + 1) >= canvas.width) level--;
    const down = Math.pow(2, finest - level);
    const scale = [picture.scale[0] * down, picture.scale[1] * down];
    const box = [(from.x[i] - from.margin[0]) / scale[0], (from.y[i] - from.margin[1]) / scale[1], from.window[0] / scale[0], from.window[1] / scale[1]];
    const limit = [Math.ceil(picture.size[0] / down), Math.ceil(picture.size[1] / down)];
    const context = canvas.getContext("2d");
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    const enlarge = [canvas.width / box[2], canvas.height / box[3]];
    const last = (axis) => Math.floor((Math.min(limit[axis], box[axis] + box[axis + 2]) - 1e-6) / picture.tile);
    const first = (axis) => Math.max(0, Math.floor(box[axis] / picture.tile));
    for (let row = first(1); row <= last(1); row++) {
      for (let col = first(0); col <= last(0); col++) {
        const image = await load("tiles/" + level + "/" + col + "_" + row + ".jpg");
        if (canvas.dataset.patch !== name) return;
        context.drawImage(
          image, (col * picture.tile - box[0]) * enlarge[0], (row * picture.tile - box[1]) * enlarge[1],
          image.naturalWidth * enlarge[0], image.naturalHeight * enlarge[1]);
      }
    }
  }

  function score(from, i) {
    const value = from.value[i];
    return from.kind === "attention" ? value.toPrecision(3) : value.toFixed(3);
  }
  const oneDigit = (value) => value.toFixed(1);

  function fact(word, value, id) {
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = word;
    dd.textContent = value;
    if (id) dd.id = id;
    byId("facts").append(dt, dd);
  }
  // Scroll the panel, not the page, until a part of it is seen whole or starts at its top.
  function reveal(part) {
    const panel = byId("panel"), seen = panel.getBoundingClientRect(), own = part.getBoundingClientRect();
    if (own.bottom > seen.bottom) panel.scrollTop += Math.min(own.bottom - seen.bottom, own.top - seen.top);
  }
  function showPatch(chosen) {
    const from = layer(), i = state.patch;
    byId("patch-found").hidden = i < 0;
    byId("patch-hint").hidden = i >= 0;
    for (const button of byId("tops").querySelectorAll("button")) {
      const own = Number(button.dataset.patch) === i;
      if (own) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
    }
    if (i < 0) return;
    byId("facts").replaceChildren();
    fact(from.meaning, score(from, i), "fact-score");
    fact("rank", from.rank[i] + " of " + from.value.length + ", percentile " + oneDigit(from.percentile[i]) + " within this slide", "fact-rank");
    fact("place", "x " + from.x[i] + ", y " + from.y[i] + " (top left, level-0 px)", "fact-place");
    const um = [from.side[0] * slide.mpp[0], from.side[1] * slide.mpp[1]].map((side) => Number(side.toPrecision(3)));
    fact("size", from.side[0] + " \u00d7 " + from.side[1] + " px" + (slide.known ? ", " + um[0] + " \u00d7 " + um[1] + " \u00b5m" : ""), "fact-size");
    if (from.margin[0] > 0) fact("shown", "the patch of " + from.window[0] + " \u00d7 " + from.window[1] + " px around it", "fact-shown");
    layers.forEach(function (other, n) {
      if (n === state.run) return;
      const same = patchFrom(other, from.x[i], from.y[i]);
      const words = same < 0 ? "not scored" : score(other, same) + ", rank " + other.rank[same] + " of " + other.value.length;
      fact(other.name, words);
    });
    const canvas = byId("patch-picture");
    canvas.setAttribute("aria-label", "Patch at x " + from.x[i] + ", y " + from.y[i] + ", rank " + from.rank[i]);
    const times = Math.max(1, Math.floor(400 / (from.window[0] * slide.mpp[0] / data.patch_mpp[0])));
    paintPatch(canvas, from, i).then(function () {
      canvas.style.width = canvas.width * times + "px";
      if (chosen) reveal(byId("patch"));
    });
    const at = (mpp) => slide.known ? Number(mpp.toPrecision(3)) + " \u00b5m per pixel." : Number((mpp / slide.mpp[0]).toPrecision(3)) + " px of the slide per pixel.";
    const own = "At the resolution the model read, " + at(data.patch_mpp[0]);
    const enlarged = "Enlarged from the picture, which holds " + at(picture.mpp);
    byId("patch-origin").textContent = (from.kept[i] ? own : enlarged) + (times > 1 ? " Shown " + times + " times as large." : "");
  }

  function choose(i, go) {
    state.patch = i;
    if (i >= 0 && go) {
      const from = layer();
      const wide = from.window[0] * perWidth.x * 5;  // five patches across
      viewer.viewport.panTo(toView(from.x[i] + from.side[0] / 2, from.y[i] + from.side[1] / 2), still);
      if (viewer.viewport.getBounds().width > wide * 2 || viewer.viewport.getBounds().width < wide / 4) {
        viewer.viewport.zoomTo(1 / wide, null, still);
      }
    }
    showPatch(true);
    refresh();
  }

  viewer.addHandler("canvas-click", function (event) {
    if (!event.quick) return;
    const at = toSlide(viewer.viewport.pointFromPixel(event.position, true));
    const i = patchAt(at.x, at.y);
    choose(i, false);
    if (i < 0) {
      const inside = at.x >= 0 && at.y >= 0 && at.x < slide.width && at.y < slide.height;
      const place = " x " + Math.floor(at.x) + ", y " + Math.floor(at.y);
      byId("patch-hint").textContent = inside ? "No patch was scored at" + place + "." : "That is outside the slide.";
    }
  });

  // Give the strip its height before the slide is fitted into what is left.
  function holdStrip() {
    for (let n = Math.min(IN_STRIP, layers[0].value.length); n > 0; n--) {
      const item = document.createElement("li"), button = document.createElement("button");
      const words = document.createElement("span");
      words.textContent = "\u00a0";
      button.append(document.createElement("canvas"), words);
      item.append(button);
      byId("tops").append(item);
    }
  }

  // The first patches of an order whose pictures do not overlap: of one spot, the best alone.
  function apart(from, order) {
    const chosen = [];
    for (const i of order) {
      if (chosen.length === IN_STRIP) break;
      const near = (j) => Math.abs(from.x[i] - from.x[j]) < from.window[0] - 2 && Math.abs(from.y[i] - from.y[j]) < from.window[1] - 2;
      if (!chosen.some(near)) chosen.push(i);
    }
    return chosen;
  }

  function fillStrip() {
    const from = layer();
    const chosen = state.ends === "top" ? apart(from, from.order) : apart(from, from.order.slice().reverse());
    const tops = byId("tops");
    byId("strip-words").textContent = view().kind === "value" ? "rank and score" : "rank and percentile";
    tops.replaceChildren();
    for (const i of chosen) {
      const item = document.createElement("li"), button = document.createElement("button");
      const canvas = document.createElement("canvas"), words = document.createElement("span");
      button.type = "button";
      button.dataset.patch = String(i);
      const told = view().kind === "value" ? score(from, i) : oneDigit(from.percentile[i]);
      button.setAttribute("aria-label", "Rank " + from.rank[i] + ", " + from.meaning + " " + score(from, i) + ": go there");
      words.textContent = "#" + from.rank[i] + "\u2002" + told;
      canvas.dataset.side = "168";
      button.append(canvas, words);
      button.addEventListener("click", () => choose(i, true));
      item.append(button);
      tops.append(item);
      paintPatch(canvas, from, i);
    }
  }

  function step(by) {
    const order = layer().order;
    if (!order.length) return;
    const at = order.indexOf(state.patch);
    const next = at < 0 ? (by > 0 ? 0 : order.length - 1) : Math.min(order.length - 1, Math.max(0, at + by));
    choose(order[next], true);
    const button = byId("tops").querySelector('[aria-current="true"]');
    if (button) button.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  // ---- Controls -------------------------------------------------------------------------------
  function fillSelect(select, words) {
    select.replaceChildren(...words.map(function (word, i) {
      const option = document.createElement("option");
      option.value = String(i);
      option.textContent = word;
      return option;
    }));
  }
  fillSelect(byId("run"), layers.map((one) => one.name));
  if (data.truth !== null) {
    byId("truth-tick").hidden = false;
    byId("truth-words").textContent = "outline: " + data.truth.label;
  }

  function showLegend() {
    const bar = byId("bar").getContext("2d");
    const colours = maps[state.map];
    const image = bar.createImageData(256, 1);
    const share = state.show ? state.opacity / 100 : 0;
    for (let i = 0; i < 256; i++) {  // as the colours look over this slide's tissue
      const over = i < Math.round(state.threshold / 100 * 255) ? 0 : share;
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = colours[3 * i + c] * over + data.tissue[c] * (1 - over);
      image.data[4 * i + 3] = 255;
    }
    bar.putImageData(image, 0, 0);
    const ticks = [0, 0.2, 0.4, 0.6, 0.8, 1].map(function (value) {
      const span = document.createElement("span");
      span.textContent = percent() ? String(Math.round(100 * value)) : value.toFixed(1);
      return span;
    });
    byId("bar-ticks").replaceChildren(...ticks);
    byId("meaning").textContent = view().words;
    let above = 0;
    const count = layer().value.length;
    for (let i = 0; i < count; i++) if (shown(i) >= state.threshold / 100 - 1e-6) above++;
    byId("count").textContent = count === 0 ? "No patch of this slide was scored."
      : above.toLocaleString("en") + " of " + count.toLocaleString("en") + " " + layer().unit[1] + " coloured";
  }

  function showControls() {
    byId("run").value = String(state.run);
    byId("view").value = String(state.view);
    byId("map").value = state.map;
    byId("opacity").value = String(state.opacity);
    byId("opacity-words").textContent = state.opacity + " %";
    byId("threshold").value = String(state.threshold);
    byId("threshold-words").textContent = percent() ? String(state.threshold) : (state.threshold / 100).toFixed(2);
    byId("show").checked = state.show;
    byId("truth").checked = state.truth;
    byId("ends").value = state.ends;
  }

  // Everything that is not the place follows the state.
  function refresh() {
    showControls();
    paintCells();
    showLegend();
    if (viewer.isOpen()) draw();
    later();
  }
  function setRun(run) {
    const before = layer(), i = state.patch;
    state.run = run;
    state.view = Math.min(state.view, layer().views.length - 1);
    state.patch = i < 0 ? -1 : patchFrom(layer(), before.x[i], before.y[i]);
    fillSelect(byId("view"), layer().views.map((one) => one.words));
    fillStrip();
    showPatch();
    refresh();
  }
  const clampPercent = (value) => Math.min(100, Math.max(0, Math.round(value)));
  function set(key, value) {
    state[key] = value;
    if (key === "view" || key === "ends") { fillStrip(); showPatch(); }
    refresh();
  }
  byId("run").addEventListener("change", (event) => setRun(Number(event.target.value)));
  byId("view").addEventListener("change", (event) => set("view", Number(event.target.value)));
  byId("map").addEventListener("change", (event) => set("map", event.target.value));
  byId("opacity").addEventListener("input", (event) => set("opacity", clampPercent(event.target.value)));
  byId("threshold").addEventListener("input", (event) => set("threshold", clampPercent(event.target.value)));
  byId("show").addEventListener("change", (event) => set("show", event.target.checked));
  byId("truth").addEventListener("change", (event) => set("truth", event.target.checked));
  byId("ends").addEventListener("change", (event) => set("ends", event.target.value));

  function zoomBy(factor) {
    viewer.viewport.zoomBy(factor, null, still);
    viewer.viewport.applyConstraints(still);
  }
  function panBy(x, y) {
    const bounds = viewer.viewport.getBounds();
    viewer.viewport.panBy(new OpenSeadragon.Point(x * bounds.width, y * bounds.height), still);
    viewer.viewport.applyConstraints(still);
  }
  const home = () => viewer.viewport.goHome(still);
  byId("zoom-in").addEventListener("click", () => zoomBy(1.5));
  byId("zoom-out").addEventListener("click", () => zoomBy(1 / 1.5));
  byId("zoom-home").addEventListener("click", home);

  const keys = {
    "ArrowLeft": () => panBy(-0.15, 0), "ArrowRight": () => panBy(0.15, 0),
    "ArrowUp": () => panBy(0, -0.15), "ArrowDown": () => panBy(0, 0.15),
    "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), "0": home,
    "o": () => set("opacity", clampPercent(state.opacity - 5)), "p": () => set("opacity", clampPercent(state.opacity + 5)),
    "[": () => set("threshold", clampPercent(state.threshold - 5)), "]": () => set("threshold", clampPercent(state.threshold + 5)),
    "h": () => set("show", !state.show), "m": () => set("map", names[(names.indexOf(state.map) + 1) % names.length]),
    "r": () => setRun((state.run + 1) % layers.length), "n": () => step(1), "b": () => step(-1),
    "Escape": () => choose(-1, false), "?": () => byId("help").showModal(),
  };
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    const own = event.target.closest("select, input");  // arrows there move the control itself
    if (own && (event.key.startsWith("Arrow") || own.type === "text" || own.tagName === "SELECT")) return;
    const act = Object.prototype.hasOwnProperty.call(keys, event.key) ? keys[event.key] : null;
    if (!act || !viewer.isOpen()) return;
    event.preventDefault();
    act();
  });
  byId("help-open").addEventListener("click", () => byId("help").showModal());
  byId("help-close").addEventListener("click", () => byId("help").close());

  // ---- The link that opens the same view again ----------------------------------------------
  function viewHash() {
    const centre = toSlide(viewer.viewport.getCenter());
    const parts = new URLSearchParams({
      x: centre.x.toFixed(1), y: centre.y.toFixed(1), um: umPerScreenPx(false).toPrecision(5),
      run: layer().name, view: view().kind, map: state.map, opacity: String(state.opacity),
      threshold: String(state.threshold), scores: state.show ? "on" : "off", ends: state.ends,
    });
    if (data.truth !== null) parts.set("outline", state.truth ? "on" : "off");
    if (state.patch >= 0) parts.set("patch", layer().x[state.patch] + "," + layer().y[state.patch]);
    return "#" + parts.toString();
  }
  let written = "", waiting = 0;
  function writeHash() {
    clearTimeout(waiting);
    waiting = 0;
    if (!viewer.isOpen()) return;
    const hash = viewHash();
    if (hash === location.hash) return;
    written = hash;
    history.replaceState(null, "", hash);
  }
  function later() {
    if (!waiting) waiting = setTimeout(writeHash, 150);
  }
  function readHash() {
    const parts = new URLSearchParams(location.hash.slice(1));
    const number = (key) => (parts.get(key) === null || parts.get(key).trim() === "" ? NaN : Number(parts.get(key)));
    const run = layers.findIndex((one) => one.name === parts.get("run"));
    if (run >= 0) state.run = run;
    const kind = layer().views.findIndex((one) => one.kind === parts.get("view"));
    state.view = kind >= 0 ? kind : 0;
    if (names.includes(parts.get("map"))) state.map = parts.get("map");
    if (Number.isFinite(number("opacity"))) state.opacity = clampPercent(number("opacity"));
    if (Number.isFinite(number("threshold"))) state.threshold = clampPercent(number("threshold"));
    if (parts.has("scores")) state.show = parts.get("scores") !== "off";
    if (parts.has("outline")) state.truth = data.truth !== null && parts.get("outline") !== "off";
    if (parts.has("ends")) state.ends = parts.get("ends") === "bottom" ? "bottom" : "top";
    const place = (parts.get("patch") || "").split(",").map(Number);
    state.patch = place.length === 2 ? patchFrom(layer(), place[0], place[1]) : -1;
    if (number("um") > 0 && Number.isFinite(number("x")) && Number.isFinite(number("y"))) {
      const width = number("um") * viewer.viewport.getContainerSize().x / umPerWidth;
      viewer.viewport.zoomTo(1 / width, null, true);
      viewer.viewport.panTo(toView(number("x"), number("y")), true);
    }
    fillSelect(byId("view"), layer().views.map((one) => one.words));
    fillStrip();
    showPatch();
    refresh();
  }
  window.addEventListener("hashchange", function () {
    if (location.hash !== written) readHash();
  });
  byId("link").addEventListener("click", async function () {
    writeHash();
    byId("link-text").value = location.href;
    try {
      await navigator.clipboard.writeText(location.href);
      byId("link").textContent = "Copied";
      setTimeout(() => { byId("link").textContent = "Copy link to this view"; }, 1500);
    } catch {
      byId("link-box").hidden = false;
      byId("link-text").select();
    }
  });

  viewer.addHandler("open", function () {
    viewer.viewport.goHome(true);
    readHash();
    busy(viewer.world.getItemAt(0).getFullyLoaded());
    document.body.dataset.ready = "true";
  });
  const busy = (loaded) => byId("slide").setAttribute("aria-busy", String(!loaded));
  viewer.addHandler("fully-loaded-change", (event) => busy(event.fullyLoaded));
  viewer.addHandler("animation-finish", later);
  viewer.addHandler("viewport-change", later);
})();
