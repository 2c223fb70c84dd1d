"""How close `wsikit tile` comes to the floor: decode the needed tiles once, encode the patches.

    python benchmarks/tile.py [--small] [--json FILE]

The slide is a phantom (JPEG tiles of 256 px). Floor: each source tile that a kept patch touches is
decoded once, each kept patch is encoded once, in one thread, nothing else. Against it: the whole
stage, with filter, stain table, index and store, with one worker and with two. Times are the best
of several; only their ratios mean anything.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import tifffile

from wsikit.config import TileConfig, load_config
from wsikit.execution.pool import open_pool
from wsikit.phantoms.slide import write_phantom
from wsikit.phantoms.spec import PhantomSpec
from wsikit.stages.cohort import source_slides
from wsikit.stages.tile import run_tile
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import Mpp, Size


def best(repeats: int, call: Callable[[], object]) -> float:
    """Return the least of several wall times, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def floor(slide: Path, stored: StoredSlide) -> None:
    """Decode the needed source tiles once and encode the kept patches once."""
    with tifffile.TiffFile(slide) as tiff:
        page = tiff.pages[0]
        side, across = page.tilewidth, -(-page.imagewidth // page.tilewidth)
        needed: set[int] = set()
        for x, y in stored.patches.xy_l0.tolist():
            rows = range(y // side, min(y + 511, page.imagelength - 1) // side + 1)
            cols = range(x // side, min(x + 511, page.imagewidth - 1) // side + 1)
            needed |= {r * across + c for r in rows for c in cols}
        for index in sorted(needed):
            tiff.filehandle.seek(page.dataoffsets[index])
            data = tiff.filehandle.read(page.databytecounts[index])
            page.decode(data, index, jpegtables=page.jpegtables)
    patch = stored.read_patch(0)
    for _ in range(len(stored.patches)):
        imagecodecs.jpeg8_encode(patch, level=90, subsampling="420")


def tile(slide: Path, folder: Path, config: TileConfig, workers: int) -> float:
    """Return the seconds one whole run takes, the pool being open."""
    with open_pool(workers) as pool:
        for round_ in ("warm", "timed"):
            store = folder / f"{workers}-{round_}"
            shutil.rmtree(store, ignore_errors=True)
            start = time.perf_counter()
            run_tile(source_slides([slide]), store, config, pool=pool)
            seconds = time.perf_counter() - start
    return seconds


def measure(small: bool, folder: Path) -> dict[str, Any]:
    """Run everything once and return rows and bars."""
    size = Size(3000, 2200) if small else Size(16000, 12000)
    slide = folder / "phantom.tiff"
    write_phantom(PhantomSpec("phantom", size, Mpp(0.5, 0.5), 1, True, "aurora"), slide)
    config = load_config().tile
    repeats = 1 if small else 3
    one = min(tile(slide, folder, config, 1) for _ in range(repeats))
    stored = Store(folder / "1-timed").slide("phantom")
    kept = len(stored.patches)
    least = best(repeats, lambda: floor(slide, stored))
    two = min(tile(slide, folder, config, 2) for _ in range(repeats))
    rows = [("floor", least), ("wsikit tile, one worker", one), ("wsikit tile, two workers", two)]
    bars = [
        {"name": "one worker over floor", "value": one / least, "at_most": 1.5},
        {"name": "two workers over one", "value": one / two, "at_least": 1.8},
    ]
    for bar in bars:
        value = bar["value"]
        bar["ok"] = value <= bar["at_most"] if "at_most" in bar else value >= bar["at_least"]
    machine = {"cpu": platform.machine(), "cores": len(os.sched_getaffinity(0))}
    table = [{"name": n, "value": round(kept / s, 1), "unit": "patches/s"} for n, s in rows]
    return {"machine": machine, "rows": table, "bars": bars}


def main() -> None:
    """Print the table; with --json also write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="quick; bars are not judged")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.small, Path(folder))
    for row in found["rows"]:
        print(f"{row['name']:<28} {row['value']:>8} {row['unit']}")
    for bar in found["bars"]:
        limit = f"<= {bar['at_most']}" if "at_most" in bar else f">= {bar['at_least']}"
        verdict = "" if options.small else ("ok" if bar["ok"] else "MISSED")
        print(f"{bar['name']:<28} {bar['value']:>8.2f} {limit} {verdict}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
