"use strict";
// Show only some rows of the slide table. Without script it is still whole.
(function () {
  const table = document.getElementById("slides");
  if (!table) return;
  const body = table.tBodies[0];

  const only = document.getElementById("only");
  const words = document.getElementById("words");
  const shown = document.getElementById("shown");
  document.getElementById("controls").hidden = false;

  function filter() {
    const wanted = words.value.trim().toLowerCase().split(/\s+/);
    let count = 0;
    for (const row of body.rows) {
      const kind = only.value === "" || row.dataset.kinds.split(" ").includes(only.value);
      row.hidden = !kind || !wanted.every((word) => row.dataset.words.includes(word));
      count += row.hidden ? 0 : 1;
    }
    shown.textContent = count + " of " + body.rows.length + " shown";
  }
  only.addEventListener("change", filter);
  words.addEventListener("input", filter);
})();
