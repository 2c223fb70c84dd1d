"""How close `wsikit tile` comes to the floor: decode the needed tiles once, encode the patches.

    python benchmarks/tile.py [--small] [--json FILE] [--slide SVS] [--times N] [--repeats N]

The slide is a mosaic of real tissue with JPEG tiles (see mosaic.py), 20,000 x 16,000 px, a small
one as slides go; --times makes it N times as wide and as high. Floor: each source tile that a kept
patch touches is decoded once, each kept patch is encoded once, in one thread, nothing else: no
glass is looked at, nothing is normalised, indexed or written. Against it: the whole stage with the
default recipe, with one worker and with two, after start-up, and as whole processes. Floor and one
worker run on one core in turn. Two cores are rarely twice one (caches, memory and often the core
itself are shared), so two floors are also run at once, in two processes that share nothing: what
two workers gain is to be read beside that. Only ratios of one run mean anything.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import imagecodecs
import tifffile
from mosaic import FULL, SMALL, find_real_slide, source_picture, write_mosaic
from shared.report import at_least, at_most, line, options, report

from wsikit.config import load_config
from wsikit.execution.pool import Pool, SerialPool, open_pool
from wsikit.stages.cohort import source_slides
from wsikit.stages.tiling.preload import SHARD_TASKS
from wsikit.stages.tiling.tile import run_tile
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import Size, UInt8Image

TWO_FLOORS = "two floors at once"
AGAIN = " again"
"""Marks what is run a second time, beside what it is compared with; not printed."""

ENCODED_STEP = 10
"""The floor encodes every tenth kept patch in turn, so that no single one's content decides."""


def seconds(call: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def best(repeats: int, call: Callable[[], object]) -> float:
    """Return the least of several wall times, in seconds."""
    return min(seconds(call) for _ in range(repeats))


def needed_tiles(page: Any, stored: StoredSlide) -> list[int]:
    """List the tiles of a TIFF page that kept patches touch, each once."""
    side, across, patch = (
        page.tilewidth,
        -(-page.imagewidth // page.tilewidth),
        stored.grid.patch_px,
    )
    needed: set[int] = set()
    for x, y in stored.patches.xy_l0.tolist():
        rows = range(y // side, min(y + patch - 1, page.imagelength - 1) // side + 1)
        cols = range(x // side, min(x + patch - 1, page.imagewidth - 1) // side + 1)
        needed |= {row * across + col for row in rows for col in cols}
    return sorted(needed)


def some_patches(stored: StoredSlide) -> list[UInt8Image]:
    """Return a sample of the kept patches, for the floor to encode."""
    return [stored.read_patch(i) for i in range(0, len(stored.patches), ENCODED_STEP)]


def floor(slide: Path, stored: StoredSlide, patches: list[UInt8Image]) -> None:
    """Decode the needed source tiles once and encode as many patches as are kept, once each."""
    with tifffile.TiffFile(slide) as tiff:
        page = tiff.pages[0]
        for index in needed_tiles(page, stored):
            tiff.filehandle.seek(page.dataoffsets[index])
            data = tiff.filehandle.read(page.databytecounts[index])
            page.decode(data, index, jpegtables=page.jpegtables)
    for i in range(len(stored.patches)):
        imagecodecs.jpeg8_encode(
            patches[i % len(patches)], level=90, colorspace="RGB", outcolorspace="YCBCR",
            subsampling="420",
        )  # fmt: skip


@cache
def kept_in(store: Path, slide_id: str) -> tuple[StoredSlide, list[UInt8Image]]:
    """Return what `floor` needs of a slide, taken from a store once a process."""
    stored = Store(store).slide(slide_id)
    return stored, some_patches(stored)


def floor_elsewhere(slide: Path, store: Path) -> None:
    """Run the floor in whichever process this is called in."""
    floor(slide, *kept_in(store, slide.stem))


def two_floors(slide: Path, store: Path, processes: ProcessPoolExecutor) -> None:
    """Run the floor in two processes at once."""
    both = [processes.submit(floor_elsewhere, slide, store) for _ in range(2)]
    for one in both:
        one.result()


def tile(slide: Path, store: Path, pool: Pool) -> None:
    """Run the whole stage into a fresh store."""
    run_tile(source_slides([slide]), store, load_config().tile, pool=pool)


def tile_process(slide: Path, store: Path, workers: int) -> None:
    """Run the command as a user does."""
    command = [sys.executable, "-m", "wsikit", "tile", str(slide), "-o", str(store)]
    subprocess.run([*command, "-j", str(workers)], check=True, capture_output=True)


def least_times(slide: Path, folder: Path, repeats: int) -> dict[str, float]:
    """Return the least seconds of each contestant, timed in turn."""
    times: dict[str, list[float]] = {}

    def take(name: str, call: Callable[[Path], None]) -> None:
        store = folder / "store"
        shutil.rmtree(store, ignore_errors=True)
        times.setdefault(name, []).append(seconds(lambda: call(store)))

    cores = os.sched_getaffinity(0)
    kept = folder / "kept"
    tile(slide, kept, SerialPool())
    stored, patches = kept_in(kept, slide.stem)
    for _ in range(repeats):
        os.sched_setaffinity(0, {min(cores)})
        take("floor", lambda _: floor(slide, stored, patches))
        take("one worker", lambda store: tile(slide, store, SerialPool()))
        take("one worker, whole process", lambda store: tile_process(slide, store, 1))
        os.sched_setaffinity(0, cores)
    with (
        open_pool(2, preload=[SHARD_TASKS]) as pool,
        ProcessPoolExecutor(2, get_context("spawn")) as processes,
    ):
        tile(slide, folder / "warm", pool)
        two_floors(slide, kept, processes)
        for _ in range(repeats):
            take("floor" + AGAIN, lambda _: floor(slide, stored, patches))
            take(TWO_FLOORS, lambda _: two_floors(slide, kept, processes))
            take("one worker" + AGAIN, lambda store: tile(slide, store, SerialPool()))
            take("two workers", lambda store: tile(slide, store, pool))
    for _ in range(repeats):
        take("two workers, whole process", lambda store: tile_process(slide, store, 2))
    return {name: min(found) for name, found in times.items()}


def measure(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run everything and return rows and bars."""
    path = folder / "mosaic.svs"
    picture = source_picture(None if asked.small else find_real_slide(asked.slide))
    width, height = SMALL if asked.small else FULL
    write_mosaic(picture, Size(width * asked.times, height * asked.times), path)
    least = least_times(path, folder, 1 if asked.small else asked.repeats)
    kept = len(Store(folder / "kept").slide(path.stem).patches)
    bars = [
        at_most("one worker over floor", least["one worker"] / least["floor"], 1.5),
        at_least("two workers over one", least["one worker" + AGAIN] / least["two workers"], 1.8),
    ]
    rows = [
        line(name, (2 if name == TWO_FLOORS else 1) * kept / s, "patches/s", 1)
        for name, s in least.items()
        if not name.endswith(AGAIN)
    ]
    gain = 2 * least["floor" + AGAIN] / least[TWO_FLOORS]
    rows.append(line("two floors at once, over one", gain, "times"))
    return {"rows": rows, "bars": bars}


def main() -> None:
    """Print the table; with --json also write it."""
    parser = options(__doc__)
    parser.add_argument("--slide", type=Path, metavar="SVS", help="real slide to make it from")
    parser.add_argument("--times", type=int, default=1, metavar="N", help="a larger slide")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="the best of so many")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(asked, Path(folder))
    report(found["rows"], found["bars"], asked)


if __name__ == "__main__":
    main()
