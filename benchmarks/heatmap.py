"""What each file format of `wsikit heatmap` costs, of one slide of 20,000 patches.

    python benchmarks/heatmap.py [--small] [--json FILE]

The slide is made: about 20,000 of the 22,400 patches of a grid, 512 px each at 0.5 um per px, JPEG,
turned pieces of a little real tissue (of a phantom where there is none). Each format is written by
`run_heatmap` in a process of its own, after a slide of four patches for its imports; memory is the
most that is held beyond those. The plain way beside it is what a user would write for PNG and
GeoJSON: the features as one list for `json.dump`, a rectangle a patch by PIL on a copy of the
overview; it has no legend, scale bar or classes. Decoding alone reads every patch once and does
nothing with it. Only ratios of one run mean anything.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from mosaic import find_real_slide, source_picture
from PIL import Image, ImageDraw
from shared.report import at_most, line, options, report

from wsikit.config import HeatmapConfig
from wsikit.geometry import PatchGrid
from wsikit.stages.heatmaps.heatmap import run_heatmap
from wsikit.store.decisions import KEPT, REASONS, Decisions
from wsikit.store.recipe import recipe_id
from wsikit.store.slide_writer import SHARD_PATCHES, Judgement, Shard, SlideWriter
from wsikit.store.store import Store
from wsikit.types import Mpp, Size, UInt8Image

BIG, WARM = "big", "warm"
FORMATS = ("png", "geojson", "sheet", "ome-tiff", "html")
MPP = Mpp(0.5, 0.49)
BARE = 0.107
"""Share of the grid's patches that are background."""

Task = Callable[[Path, str], object]
"""Takes the folder and a slide id."""


class Took(NamedTuple):
    """What a task cost."""

    seconds: float
    peak_mb: float


def make(folder: Path, small: bool, tissue: Path | None) -> int:
    """Make a store of two slides, and a run that scored them; return the larger one's patches."""
    store = Store.create(folder / "store", {"size": side(small)})
    (folder / "run" / "patches").mkdir(parents=True)
    shapes = {WARM: (2, 2), BIG: (10, 12) if small else (140, 160)}
    picture = source_picture(tissue)
    return [
        make_slide(store, folder / "run", *one, side(small), picture) for one in shapes.items()
    ][-1]


def side(small: bool) -> int:
    """Return the side of a patch."""
    return 64 if small else 512


def make_slide(
    store: Store, run: Path, slide_id: str, shape: tuple[int, int], px: int, picture: UInt8Image
) -> int:
    """Write a slide of patches that are turned pieces of a picture; return how many there are."""
    rows, cols = shape
    grid = PatchGrid(Size(cols * px, rows * px), (1.0, 1.0), px)
    writer = SlideWriter(store.staging_path(f"{slide_id}.zarr"), grid, ("jpeg", 90, "420"))
    kept = np.random.default_rng(0).random(shape) >= (BARE if rows > 2 else 0)
    reason = np.where(kept, KEPT, REASONS.index("tissue")).astype(np.uint8)
    zeros = np.zeros(shape, np.float32)
    recipe = {"source": slide_id, "size": px}
    across = max(1, px // 32)
    attributes = {
        "recipe_id": recipe_id(recipe), "recipe": recipe, "size_l0": list(grid.slide_px),
        "mpp_l0": list(MPP), "mpp": list(MPP), "scale": [1.0, 1.0], "patch_px": px,
        "thumbnail_scale": [float(across)] * 2, "stain": {"method": "none"}, "properties": {},
    }  # fmt: skip
    encode, pieces = writer.encoder(), turned(picture, px)
    thumbnail = np.full((rows * px // across, cols * px // across, 3), 244, np.uint8)
    for row, col in np.argwhere(kept).tolist():
        piece = pieces[(7 * row + col) % len(pieces)][::across, ::across]
        y, x = row * px // across, col * px // across
        thumbnail[y : y + len(piece), x : x + len(piece)] = piece
    writer.begin(attributes, thumbnail, Decisions(zeros, zeros, reason))
    data = [encode(piece) for piece in pieces]
    for top in range(0, rows, SHARD_PATCHES):
        for left in range(0, cols, SHARD_PATCHES):
            own = np.argwhere(kept[top : top + SHARD_PATCHES, left : left + SHARD_PATCHES])
            places = [(row + top, col + left) for row, col in own.tolist()]
            writer.write_shard(
                Shard(top // SHARD_PATCHES, left // SHARD_PATCHES),
                {(r, c): data[(7 * r + c) % len(data)] for r, c in places},
                [Judgement(r, c, 1.0, 20.0, KEPT) for r, c in places],
            )
    writer.finish(store.slide_path(slide_id))
    write_scores(store, run, slide_id)
    return int(kept.sum())


def turned(picture: UInt8Image, px: int) -> list[UInt8Image]:
    """Cut pieces out of a picture, and turn each in four ways."""
    pieces = [
        np.ascontiguousarray(picture[y : y + px, x : x + px])
        for y in range(0, len(picture) - px + 1, px)
        for x in range(0, picture.shape[1] - px + 1, px)
    ][:12]
    return [np.ascontiguousarray(np.rot90(piece, k)) for piece in pieces for k in range(4)]


def write_scores(store: Store, run: Path, slide_id: str) -> None:
    """Write smooth patch scores, as `wsikit predict` does."""
    stored = store.slide(slide_id)
    xy, (width, height) = stored.patches.xy_l0, stored.grid.side_l0()
    wave = np.sin(xy[:, 0] / (9 * width)) * np.cos(xy[:, 1] / (11 * height))
    noise = np.random.default_rng(1).normal(size=len(xy)) / 2
    score = (1 / (1 + np.exp(-3 * wave - noise))).astype(np.float32)
    table = pd.DataFrame(
        {
            "x": xy[:, 0], "y": xy[:, 1], "width": np.int32(width), "height": np.int32(height),
            "score": score,
        }
    )  # fmt: skip
    table.attrs = {
        "score": "probability of tumour", "kind": "probability", "patches": stored.recipe_id,
    }  # fmt: skip
    table.to_parquet(run / "patches" / f"{slide_id}.parquet", index=False)


def wsikit_writes(*formats: str) -> Task:
    """Return what writes formats as `wsikit heatmap` does."""
    return partial(_write, formats)


def _write(formats: tuple[str, ...], folder: Path, slide_id: str) -> None:
    config = HeatmapConfig.model_validate({"formats": formats, "cohort": False})
    outcome = run_heatmap(
        folder / "store", folder / "run", folder / "out" / "-".join(formats), config,
        slide_ids=[slide_id],
    )  # fmt: skip
    if outcome.failed:
        raise SystemExit(str(outcome.failed))


def plain_way(folder: Path, slide_id: str) -> None:
    """Write PNG and GeoJSON as one would by hand."""
    import matplotlib

    stored = Store(folder / "store").slide(slide_id)
    table = pd.read_parquet(folder / "run" / "patches" / f"{slide_id}.parquet")
    features, colours = [], matplotlib.colormaps["viridis"]
    picture = Image.fromarray(stored.thumbnail())
    over = picture.copy()
    draw = ImageDraw.Draw(over)
    across, down = stored.thumbnail_scale
    for row in table.itertuples():
        x, y, right, bottom = row.x, row.y, row.x + row.width, row.y + row.height
        ring = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {"objectType": "tile", "measurements": {"score": float(row.score)}},
            }
        )
        colour = tuple(int(255 * part) for part in colours(float(row.score))[:3])
        draw.rectangle((x / across, y / down, right / across, bottom / down), fill=colour)
    Image.blend(picture, over, 0.45).save(folder / f"{slide_id}.png")
    with (folder / f"{slide_id}.geojson").open("w") as file:
        json.dump({"type": "FeatureCollection", "features": features}, file)


def decoding_alone(folder: Path, slide_id: str) -> None:
    """Decode every patch once."""
    stored = Store(folder / "store").slide(slide_id)
    for index in range(len(stored.patches)):
        stored.read_patch(index)


def measured_in_child(task: Task, folder: Path) -> Took:
    """Run a task once for its imports and once for its cost; meant for a fresh process."""
    task(folder, WARM)
    before = memory_kb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is not this task's
    start = time.perf_counter()
    task(folder, BIG)
    seconds = time.perf_counter() - start
    return Took(seconds, max(1.0, (memory_kb("VmHWM") - before) / 1000))


def memory_kb(name: str) -> int:
    """Return a figure of this process's memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0])


def took(task: Task, folder: Path) -> Took:
    """Run a task in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured_in_child, task, folder).result()


def measure(folder: Path, patches: int) -> dict[str, list[dict[str, Any]]]:
    """Write every format and return rows and bars."""
    tasks = {name: wsikit_writes(name) for name in FORMATS}
    costs = {name: took(task, folder) for name, task in tasks.items()}
    costs["png + geojson, the plain way"] = took(plain_way, folder)
    costs["decoding every patch alone"] = took(decoding_alone, folder)
    both = costs["png"].seconds + costs["geojson"].seconds
    rows = [line("patches", patches, "", 0), line("png + geojson", both, "s", 3)]
    for name, cost in costs.items():
        rows.append(line(name, cost.seconds, "s", 3))
        rows.append(line(f"{name}, memory", cost.peak_mb, "MB", 0))
    plain = costs["png + geojson, the plain way"].seconds
    decoding = costs["decoding every patch alone"].seconds
    pixels_mb = patches * 3 * Store(folder / "store").slide(BIG).grid.patch_px ** 2 / 1e6
    bars = [
        at_most("png + geojson over the plain way", both / plain, 2.0),
        at_most("html over decoding alone", costs["html"].seconds / decoding, 5.0),
        at_most("ome-tiff over decoding alone", costs["ome-tiff"].seconds / decoding, 5.0),
    ]
    for name in ("html", "ome-tiff"):
        share = costs[name].peak_mb / pixels_mb
        bars.append(at_most(f"memory of {name}, over the slide's pixels", share, 0.1))
    return {"rows": rows, "bars": bars}


def main() -> None:
    """Print the table; with --json also write it."""
    asked = options(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        patches = make(folder, asked.small, None if asked.small else find_real_slide(None))
        found = measure(folder, patches)
    report(found["rows"], found["bars"], asked)


if __name__ == "__main__":
    main()
