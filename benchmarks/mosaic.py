"""Write a slide of real tissue, as large as wanted, for benchmarks to run on.

    python benchmarks/mosaic.py [--small] [--json FILE] [--slide SVS] [--out FILE] [--tile 240|256]

The picture is CMU-1-Small-Region cut into squares, laid side by side with flips and quarter turns,
some squares left to the slide's own bare glass. The file is as Aperio writes one: JPEG tiles
(quality 87, YCbCr 4:2:0), levels at 1, 1/4 and 1/16, a thumbnail, 0.499 um/px in the description
and in the resolution tags, so that every reader knows it. Memory holds a row of tiles and the
quarter-size level. Without the real slide, and with --small, a phantom's pixels take its place.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile

from wsikit.phantoms.slide import strips
from wsikit.phantoms.spec import PhantomSpec
from wsikit.types import Mpp, Size

MPP = 0.499
"""Micrometres per level-0 pixel; within 2 % of 0.5, so nobody resamples."""

FULL = Size(20000, 16000)
SMALL = Size(3100, 2560)
REAL_SLIDE = "slides/cmu-1-small-region.svs"
REDUCTION = 4
"""How much smaller each level is than the one before, as Aperio's are."""

JPEG_QUALITY = 87
BAND_ROWS = 256
"""Rows drawn at a time; no pixel depends on it."""

MARGIN = 128
"""Rows of glass at the bottom: no patch that overhangs the slide is tissue."""

GLASS_SHARE = 0.17
"""Share of squares left empty; about 60 % of the patches of 512 px are then tissue."""


@dataclass(frozen=True)
class Cell:
    """One square of the mosaic.

    Attributes:
        top: first row of the square in the picture; None: glass.
        turns: quarter turns.
        flip: whether it is mirrored.
    """

    top: int | None
    turns: int
    flip: bool


def find_real_slide(given: Path | None = None) -> Path | None:
    """Return the real slide: the one given, or that of the test data, or None."""
    if given is not None:
        return given
    default = Path(__file__).parents[2] / "shared" / "data"
    found = Path(os.environ.get("WSIKIT_TEST_DATA", default)) / REAL_SLIDE
    return found if found.exists() else None


def source_picture(slide: Path | None) -> np.ndarray:
    """Return (height, width, 3) uint8 pixels: level 0 of a slide, or a phantom's."""
    if slide is not None:
        return np.asarray(tifffile.imread(slide, key=0))
    spec = PhantomSpec("mosaic", Size(1400, 1700), Mpp(MPP, MPP), 3, True, "aurora")
    return np.concatenate([strip.copy() for strip in strips(spec)])


def write_mosaic(picture: np.ndarray, size: Size, path: Path, tile: int = 256) -> None:
    """Write the mosaic of a picture.

    Args:
        picture: (height, width, 3) uint8, higher than wide.
        size: (width, height) of the slide in pixels.
        path: the .svs file to write; it appears under its name only when it is whole.
        tile: side of the JPEG tiles in pixels.
    """
    partial = path.with_name(f".{path.name}.partial")
    smaller = [np.empty((size.height // REDUCTION, size.width // REDUCTION, 3), np.uint8)]
    with tifffile.TiffWriter(partial) as tiff:
        rows = _rows(picture, size)
        _write_level(tiff, 0, size, tile, _tiles(_reduced_on_the_way(rows, smaller[0]), tile))
        smaller.append(_reduce(smaller[0]))
        _write_thumbnail(tiff, size, smaller[1])
        for index, level in enumerate(smaller, start=1):
            level_size = Size(level.shape[1], level.shape[0])
            _write_level(tiff, index, level_size, tile, _tiles([level], tile))
    partial.replace(path)


def _rows(picture: np.ndarray, size: Size) -> Iterator[np.ndarray]:
    """Yield bands of rows from top to bottom; always the same for the same picture."""
    side = picture.shape[1]
    random = np.random.default_rng(1)
    glass = _glass(picture)
    spare = picture.shape[0] - side
    for start in range(0, size.height, side):
        squares = []
        for _ in range(0, size.width, side):
            top = None if random.random() < GLASS_SHARE else int(random.integers(spare + 1))
            cell = Cell(top, int(random.integers(4)), bool(random.integers(2)))
            squares.append(_draw(picture, glass, cell))
        for top in range(start, min(start + side, size.height), BAND_ROWS):
            bottom = min(top + BAND_ROWS, start + side, size.height)
            row = np.concatenate([s[top - start : bottom - start] for s in squares], axis=1)
            row = row[:, : size.width]
            bare = max(0, bottom - max(top, size.height - MARGIN))
            if bare:
                row[-bare:] = glass[:bare, np.arange(size.width) % side]
            yield row


def _draw(picture: np.ndarray, glass: np.ndarray, cell: Cell) -> np.ndarray:
    side = picture.shape[1]
    square = glass if cell.top is None else picture[cell.top : cell.top + side]
    turned = np.rot90(square, cell.turns)
    return turned[:, ::-1] if cell.flip else turned


def _glass(picture: np.ndarray) -> np.ndarray:
    """Return a square of glass: the picture's brightest block, mirrored until large enough."""
    side, block = picture.shape[1], picture.shape[1] // 5
    corners = [
        (top, left)
        for top in range(0, picture.shape[0] - block, block // 2)
        for left in range(0, side - block, block // 2)
    ]
    top, left = max(corners, key=lambda at: _darkest(picture, at, block))
    piece = picture[top : top + block, left : left + block]
    pair = np.concatenate([piece, piece[:, ::-1]], axis=1)
    four = np.concatenate([pair, pair[::-1]])
    times = -(-side // len(four))
    return np.tile(four, (times, times, 1))[:side, :side]


def _darkest(picture: np.ndarray, corner: tuple[int, int], block: int) -> float:
    top, left = corner
    return float(np.percentile(picture[top : top + block, left : left + block].min(axis=2), 0.1))


def _reduced_on_the_way(rows: Iterable[np.ndarray], into: np.ndarray) -> Iterator[np.ndarray]:
    """Pass rows on and fill the next level; rows that end between its pixels are kept back."""
    waiting, filled = np.empty((0, into.shape[1] * REDUCTION, 3), np.uint8), 0
    for block in rows:
        whole = np.concatenate([waiting, block[:, : into.shape[1] * REDUCTION]])
        reduced = _reduce(whole)
        reduced = reduced[: len(into) - filled]
        into[filled : filled + len(reduced)] = reduced
        filled += len(reduced)
        waiting = whole[len(reduced) * REDUCTION :]
        yield block


def _reduce(pixels: np.ndarray) -> np.ndarray:
    """Average each 4x4 pixels into one; what does not fill one is dropped."""
    height, width = (side // REDUCTION for side in pixels.shape[:2])
    whole = pixels[: height * REDUCTION, : width * REDUCTION]
    blocks = whole.reshape(height, REDUCTION, width, REDUCTION, 3)
    total = blocks.sum(axis=(1, 3), dtype=np.uint16)
    return ((total + REDUCTION**2 // 2) // REDUCTION**2).astype(np.uint8)


def _tiles(rows: Iterable[np.ndarray], tile: int) -> Iterator[bytes]:
    """Yield the encoded tiles of rows of pixels; the edge is filled up with its own pixels."""
    waiting: np.ndarray | None = None
    for block in rows:
        waiting = block if waiting is None else np.concatenate([waiting, block])
        whole = len(waiting) // tile * tile
        for top in range(0, whole, tile):
            yield from _tile_row(waiting[top : top + tile], tile)
        waiting = waiting[whole:]
    if waiting is not None and len(waiting):
        missing = tile - len(waiting)
        yield from _tile_row(np.pad(waiting, ((0, missing), (0, 0), (0, 0)), mode="edge"), tile)


def _tile_row(row: np.ndarray, tile: int) -> Iterator[bytes]:
    for left in range(0, row.shape[1], tile):
        piece = row[:, left : left + tile]
        if piece.shape[1] < tile:
            piece = np.pad(piece, ((0, 0), (0, tile - piece.shape[1]), (0, 0)), mode="edge")
        yield encode(piece)


def encode(pixels: np.ndarray) -> bytes:
    """Encode (height, width, 3) uint8 RGB pixels as one JPEG."""
    encoded = imagecodecs.jpeg8_encode(
        np.ascontiguousarray(pixels),
        level=JPEG_QUALITY,
        colorspace="RGB",
        outcolorspace="YCBCR",
        subsampling=(2, 2),
    )
    return bytes(encoded)


def _write_level(tiff: Any, index: int, size: Size, tile: int, tiles: Iterator[bytes]) -> None:
    width, height = size
    tiff.write(
        tiles,
        shape=(height, width, 3),
        tile=(tile, tile),
        description=_description(f"{width}x{height} [0,0 {width}x{height}] ({tile}x{tile})"),
        resolution=(1e4 / (MPP * REDUCTION**index),) * 2,
        resolutionunit="CENTIMETER",
        **_JPEG,
    )


def _write_thumbnail(tiff: Any, size: Size, smallest: np.ndarray) -> None:
    """Write the picture that stands second in every Aperio file; readers count on it."""
    pixels = np.ascontiguousarray(smallest[::2, ::2])
    high, wide = pixels.shape[:2]
    tiff.write(
        iter([encode(pixels)]),
        shape=pixels.shape,
        rowsperstrip=high,
        description=_description(f"{size.width}x{size.height} -> {wide}x{high} -"),
        **_JPEG,
    )


def _description(geometry: str) -> str:
    return (
        f"Aperio Image Library v11.2.1 \r\n{geometry} JPEG/RGB Q={JPEG_QUALITY}"
        f"|AppMag = 20|MPP = {MPP:.4f}"
    )


_JPEG: dict[str, Any] = {
    "dtype": np.uint8,
    "photometric": "ycbcr",
    "compression": "jpeg",
    "subsampling": (2, 2),
    "metadata": None,
    "software": False,
}
"""What every page of the file has in common."""


def main() -> None:
    """Write the slide; print how fast."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="a small slide made of a phantom")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--slide", type=Path, help="the real slide; default: that of the test data")
    parser.add_argument("--out", type=Path, help="keep the slide here; default: do not keep it")
    parser.add_argument("--tile", type=int, choices=(240, 256), default=256)
    options = parser.parse_args()
    size = SMALL if options.small else FULL
    slide = None if options.small else find_real_slide(options.slide)
    with tempfile.TemporaryDirectory() as folder:
        path = options.out or Path(folder) / "mosaic.svs"
        start = time.perf_counter()
        write_mosaic(source_picture(slide), size, path, options.tile)
        seconds = time.perf_counter() - start
        rows = [
            {"name": "pixels", "value": size.width * size.height / 1e6, "unit": "Mpx"},
            {"name": "file", "value": round(path.stat().st_size / 1e6, 2), "unit": "MB"},
            {"name": "written", "value": round(seconds, 2), "unit": "s"},
        ]
    for row in rows:
        print(f"{row['name']:<10} {row['value']:>8} {row['unit']}")
    if options.json:
        machine = {"cpu": platform.machine(), "cores": len(os.sched_getaffinity(0))}
        found = {"machine": machine, "rows": rows, "bars": []}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
