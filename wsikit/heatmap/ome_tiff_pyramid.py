"""Write a pyramid that OME readers and OpenSlide both see, holding few rows of it at a time.

OME-TIFF keeps smaller levels in SubIFDs, away from the file's main chain of directories. OpenSlide
looks at the main chain alone, and would see one level. So each smaller level is listed twice, by
two directories that name the same tiles: one a SubIFD, as OME asks, and one in the main chain,
marked as a reduced image. OME's own readers pass over the second, as it is named by no `TiffData`
and reduced images are thumbnails to them. It costs a table of places a level, and no pixels.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import tifffile

from wsikit.heatmap.ome_xml import resolution_tags
from wsikit.pyramid import JPEG_SUBSAMPLING, Level, TileSpool, level_sizes
from wsikit.types import Mpp, Size, UInt8Image

TILE_PX = 512
"""Side of a tile."""

BIG_BYTES = 1 << 31
"""A picture of more pixels' bytes than this is written as BigTIFF."""


def write_pyramid(
    path: Path, size: Size, strips: Iterable[UInt8Image], xml: bytes, um_per_px: Mpp | None
) -> None:
    """Write a picture as tiled JPEG pyramid.

    Level 0 is written as it comes. The tiles of the smaller levels wait, encoded, in an unnamed
    file beside it. Memory holds a row of tiles of each level.

    Args:
        path: the file to write; the caller sees that it appears whole.
        size: (width, height) of the picture.
        strips: (n, width, 3) uint8 from top to bottom, `size.height` rows in all.
        xml: what the first directory says of the picture.
        um_per_px: physical size of its pixels; None where nobody knows it.

    Raises:
        OSError: the file cannot be written.
    """
    sizes = level_sizes(size, TILE_PX)
    big = size.width * size.height * 3 > BIG_BYTES
    with (
        tempfile.TemporaryFile(dir=path.parent) as file,
        tifffile.TiffWriter(path, bigtiff=big) as tiff,
    ):
        spools = [TileSpool(file) for _ in sizes[1:]]
        below: Level | None = None
        for level, spool in zip(reversed(sizes[1:]), reversed(spools), strict=True):
            below = Level(level.width, TILE_PX, spool.put, below)
        tiles = _full_tiles(size, strips, below)
        extra: dict[str, Any] = {"subifds": len(spools)} if spools else {}
        _write_level(tiff, size, tiles, um_per_px, description=xml, **extra)
        for k, (level, spool) in enumerate(zip(sizes[1:], spools, strict=True), start=1):
            # Level k's pixels are 2^k as wide as level 0's, whatever rounding did to its size.
            mpp = um_per_px and Mpp(um_per_px.x * 2**k, um_per_px.y * 2**k)
            _write_level(tiff, level, spool, mpp, subfiletype=1)
    _list_levels(path)


def _full_tiles(size: Size, strips: Iterable[UInt8Image], below: Level | None) -> Iterator[bytes]:
    """Yield level 0's tiles, and feed the smaller levels on the way."""
    ready: list[bytes] = []
    full = Level(size.width, TILE_PX, ready.append, below)
    missing = size.height
    for strip in strips:
        full.add(strip)
        missing -= len(strip)
        if missing <= 0:
            # Before the last tile is handed over: nobody asks for more after it.
            full.finish()
        yield from ready
        ready.clear()


def _write_level(
    tiff: tifffile.TiffWriter,
    size: Size,
    tiles: Iterable[bytes],
    um_per_px: Mpp | None,
    **extra: Any,
) -> None:
    tiff.write(
        iter(tiles),
        shape=(size.height, size.width, 3),
        dtype=np.uint8,
        tile=(TILE_PX, TILE_PX),
        photometric="ycbcr",
        compression="jpeg",
        subsampling=JPEG_SUBSAMPLING,
        **resolution_tags(um_per_px),
        metadata=None,
        software=False,
        **extra,
    )


def _list_levels(path: Path) -> None:
    """Append a copy of each SubIFD to the main chain; what a directory points to is shared."""
    with tifffile.TiffFile(path) as tiff:
        first = tiff.pages.first
        link_of, starts = first.offset, list(first.subifds or ())
        layout = tiff.tiff
    with path.open("r+b") as file:
        for start in starts:
            tags = _number(file, start, layout.tagnoformat)
            length = layout.tagnosize + tags * layout.tagsize
            file.seek(start)
            directory = file.read(length)
            end = file.seek(0, 2)
            place = end + end % 2  # a directory begins on a whole word
            file.write(b"\0" * (place - end) + directory)
            file.write(struct.pack(layout.offsetformat, 0))
            count = _number(file, link_of, layout.tagnoformat)
            file.seek(link_of + layout.tagnosize + count * layout.tagsize)
            file.write(struct.pack(layout.offsetformat, place))
            link_of = place


def _number(file: IO[bytes], at: int, form: str) -> int:
    file.seek(at)
    return int(struct.unpack(form, file.read(struct.calcsize(form)))[0])
