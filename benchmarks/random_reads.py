"""How fast patches come out of the store: single ones at random, and a whole cohort in order.

    python benchmarks/random_reads.py [--small] [--json FILE] [--slide SVS]

Against it: the raw JPEG decoding of the very same chunks, held in memory, in one thread; and the
same reads through zarr alone, which is what a user of another reader gets. The stores are made from
mosaics of real tissue (see mosaic.py). Files are in the system's cache. Only ratios of one run mean
anything.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import zarr
from mosaic import SMALL, find_real_slide, source_picture, write_mosaic
from shared.report import at_least, line, options, report

from wsikit.config import load_config
from wsikit.stages.cohort import source_slides
from wsikit.stages.tiling.tile import run_tile
from wsikit.store.shard import read_chunk, read_shard_index
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import Size

MEDIUM = Size(10000, 8000)
SHARD_SIDE = 8
ZARR_READS = 100
"""Reads through zarr are slow; this many are enough."""


def seconds(call: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def make_cohort(small: bool, slide: Path | None, folder: Path) -> Store:
    """Tile three slides."""
    picture = source_picture(None if small else find_real_slide(slide))
    (folder / "slides").mkdir()
    for n in range(3):
        turned = np.ascontiguousarray(np.flipud(picture)) if n == 1 else picture
        write_mosaic(turned, SMALL if small else MEDIUM, folder / "slides" / f"s{n}.svs")
    run_tile(source_slides([folder / "slides"]), folder / "store", load_config().tile)
    return Store(folder / "store")


def chunks(slide: StoredSlide) -> list[bytes]:
    """Return the encoded patches, read by the shard format's own rules."""
    found = []
    for row, col in slide.patches.rowcol.tolist():
        path = slide.path / "0" / "c" / "0" / str(row // SHARD_SIDE) / str(col // SHARD_SIDE)
        offset, length = read_shard_index(path, SHARD_SIDE)[row % SHARD_SIDE, col % SHARD_SIDE]
        found.append(read_chunk(path, int(offset), int(length)))
    return found


def through_zarr(path: Path, places: np.ndarray) -> None:
    """Read patches as any Zarr reader would."""
    array: Any = zarr.open_array(path / "0", mode="r")
    for row, col in places.tolist():
        np.asarray(array[:, row * 512 : row * 512 + 512, col * 512 : col * 512 + 512])


def measure(small: bool, slide: Path | None, folder: Path) -> dict[str, Any]:
    """Run everything and return rows and bars."""
    store = make_cohort(small, slide, folder)
    slides = [store.slide(slide_id) for slide_id in store.slide_ids()]
    encoded = [chunks(one) for one in slides]
    order = np.random.default_rng(0).permutation(len(encoded[0]))
    times: dict[str, list[float]] = {}

    def take(name: str, count: int, call: Callable[[], object]) -> None:
        times.setdefault(name, []).append(seconds(call) / count)

    total = sum(len(part) for part in encoded)
    for _ in range(1 if small else 5):
        take("raw decode, at random", len(order), lambda: decode(encoded[0][i] for i in order))
        take("store, at random", len(order), lambda: read(store.slide(slides[0].slide_id), order))
        some = slides[0].patches.rowcol[order[:ZARR_READS]]
        take("zarr, at random", len(some), lambda p=some: through_zarr(slides[0].path, p))
        take("raw decode, whole cohort", total, lambda: decode(d for part in encoded for d in part))
        take("store, whole cohort", total, lambda: scan(store))
    least = {name: min(found) for name, found in times.items()}
    bars = [
        bar("random reads over raw decode", least, "at random"),
        bar("cohort scan over raw decode", least, "whole cohort"),
    ]
    rows = [line(n, 1 / s, "patches/s", 1) for n, s in least.items()]
    return {"rows": rows, "bars": bars}


def decode(data: Iterable[bytes]) -> None:
    """Decode pictures, and nothing else."""
    for one in data:
        imagecodecs.jpeg8_decode(one)


def read(slide: StoredSlide, order: Iterable[int]) -> None:
    """Read patches of a slide that was just opened: index and metadata are read anew."""
    for i in order:
        slide.read_patch(int(i))


def scan(store: Store) -> None:
    """Read every patch of every slide in order."""
    for slide_id in store.slide_ids():
        slide = store.slide(slide_id)
        read(slide, range(len(slide.patches)))


def bar(name: str, least: dict[str, float], kind: str) -> dict[str, Any]:
    """Return a bar: at least 0.7 of the raw decoding rate."""
    return at_least(name, least[f"raw decode, {kind}"] / least[f"store, {kind}"], 0.7)


def main() -> None:
    """Print the table; with --json also write it."""
    parser = options(__doc__)
    parser.add_argument("--slide", type=Path, metavar="SVS", help="real slide to make it from")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(asked.small, asked.slide, Path(folder))
    report(found["rows"], found["bars"], asked)


if __name__ == "__main__":
    main()
