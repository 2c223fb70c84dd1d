"""Write a phantom as a pyramidal, JPEG-tiled TIFF, holding a few rows of it at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from wsikit.errors import WsikitError
from wsikit.phantoms.render import render_block
from wsikit.phantoms.spec import PhantomSpec
from wsikit.pyramid import JPEG_SUBSAMPLING, Level, TileSpool, level_sizes
from wsikit.types import Size, UInt8Image

TILE_PX = 256
"""Side of a tile."""

SMALLEST_LEVEL_PX = 512
"""The pyramid ends with the first level no wider and no higher than this."""

STRIP_ROWS = 512
"""Rows drawn at a time; no pixel depends on it."""

BLOCK_COLUMNS = 1024
"""Columns drawn at a time; no pixel depends on it."""

BIG_BYTES = 2**32 - 2**25
"""A file that might grow past this is written as BigTIFF."""

DESCRIPTION = "wsikit phantom: made by program, not a patient's slide"


def write_phantom(spec: PhantomSpec, path: Path) -> None:
    """Write a slide that OpenSlide, tiffslide and tifffile read.

    Tiles of 256x256, JPEG quality 85, YCbCr 4:2:0; every level half the one before, marked as a
    reduced image; micrometres per pixel as resolution tags, x and y apart. The file appears under
    its name only when it is whole. Level 0 is written as it is drawn; the smaller levels' tiles
    wait, encoded, in an unnamed file beside it. Memory holds 512 rows of the slide and a row of
    tiles of each level.

    Args:
        spec: what to draw.
        path: the file to write; its folder exists. An older file is replaced.

    Raises:
        WsikitError: the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        _write(spec, partial)
        partial.replace(path)
    except OSError as error:
        raise WsikitError(
            f"cannot write the phantom {path.name}: {error.strerror or error}",
            "choose a folder that exists, can be written to and has room",
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def strips(spec: PhantomSpec, rows: int = STRIP_ROWS) -> Iterator[UInt8Image]:
    """Draw a slide from top to bottom.

    Args:
        spec: the slide.
        rows: height of a strip; the pixels are the same for any.

    Yields:
        (rows or fewer, width, 3) uint8; the array is used again for the next strip.
    """
    width, height = spec.size
    strip = np.empty((rows, width, 3), np.uint8)
    for top in range(0, height, rows):
        high = min(rows, height - top)
        for left in range(0, width, BLOCK_COLUMNS):
            wide = min(BLOCK_COLUMNS, width - left)
            strip[:high, left : left + wide] = render_block(spec, left, top, wide, high)
        yield strip[:high]


def _write(spec: PhantomSpec, path: Path) -> None:
    sizes = level_sizes(spec.size, SMALLEST_LEVEL_PX)
    raw_bytes = 4 * spec.size.width * spec.size.height
    with (
        tempfile.TemporaryFile(dir=path.parent) as file,
        tifffile.TiffWriter(path, bigtiff=raw_bytes > BIG_BYTES) as tiff,
    ):
        spools = [TileSpool(file) for _ in sizes[1:]]
        below: Level | None = None
        for size, spool in zip(reversed(sizes[1:]), reversed(spools), strict=True):
            below = Level(size.width, TILE_PX, spool.put, below)
        _write_level(tiff, spec, 0, sizes[0], _full_tiles(spec, below))
        for index, spool in enumerate(spools, start=1):
            _write_level(tiff, spec, index, sizes[index], spool)


def _full_tiles(spec: PhantomSpec, below: Level | None) -> Iterator[bytes]:
    """Yield level 0's tiles and feed the smaller levels on the way."""
    ready: list[bytes] = []
    full = Level(spec.size.width, TILE_PX, ready.append, below)
    missing = spec.size.height
    for strip in strips(spec):
        full.add(strip)
        missing -= len(strip)
        if not missing:
            # Before the last tile is handed over: nobody asks for more after it.
            full.finish()
        yield from ready
        ready.clear()


def _write_level(
    tiff: Any, spec: PhantomSpec, index: int, size: Size, tiles: Iterable[bytes]
) -> None:
    # Level k's pixels are 2^k as wide as level 0's, whatever rounding did to its size.
    per_cm = tuple(1e4 / (mpp * 2**index) for mpp in spec.mpp)
    tiff.write(
        iter(tiles),
        shape=(size.height, size.width, 3),
        dtype=np.uint8,
        tile=(TILE_PX, TILE_PX),
        photometric="ycbcr",
        compression="jpeg",
        subsampling=JPEG_SUBSAMPLING,
        subfiletype=int(index > 0),
        resolution=per_cm,
        resolutionunit="CENTIMETER",
        description=DESCRIPTION if index == 0 else None,
        metadata=None,
        software=False,
    )
