"""Cut rows of pixels into the JPEG tiles of a pyramid as they come, holding few rows of a level."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO

import imagecodecs
import numpy as np

from wsikit.types import Size, UInt8Image

JPEG_QUALITY = 85

JPEG_SUBSAMPLING = (2, 2)
"""Luma pixels per chroma pixel along x and y."""


def level_sizes(size: Size, smallest: int) -> list[Size]:
    """Return the size of every level, each half the one before, rounded down.

    Args:
        size: of level 0.
        smallest: the pyramid ends with the first level no wider and no higher than this.
    """
    sizes = [size]
    while max(sizes[-1]) > smallest and min(sizes[-1]) > 1:
        sizes.append(Size(sizes[-1].width // 2, sizes[-1].height // 2))
    return sizes


def encode_tile(tile: UInt8Image, side: int) -> bytes:
    """Encode one tile as a JPEG of its own; it is filled up to full size with its edge pixels.

    Args:
        tile: (h, w, 3) uint8, at most `side` high and wide.
        side: of a tile in pixels.
    """
    missing = (side - tile.shape[0], side - tile.shape[1])
    if any(missing):
        tile = np.pad(tile, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    encoded = imagecodecs.jpeg8_encode(
        np.ascontiguousarray(tile),
        level=JPEG_QUALITY,
        colorspace="RGB",
        outcolorspace="YCBCR",
        subsampling=JPEG_SUBSAMPLING,
    )
    return bytes(encoded)


def halve(rows: UInt8Image) -> UInt8Image:
    """Average every 2x2 pixels into one, halves up; an odd last row or column is dropped."""
    height, width = rows.shape[0] // 2, rows.shape[1] // 2
    whole = rows[: 2 * height, : 2 * width]
    pairs = whole[0::2].astype(np.uint16)
    pairs += whole[1::2]
    total = pairs[:, 0::2] + pairs[:, 1::2]
    return ((total + 2) >> 2).astype(np.uint8)


class Level:
    """Gather the rows of one level into rows of tiles.

    Args:
        width: the level's width in pixels.
        side: of a tile.
        sink: takes the level's encoded tiles, in order.
        below: the next smaller level, which gets every row of this one at half its size.
    """

    def __init__(
        self, width: int, side: int, sink: Callable[[bytes], object], below: Level | None = None
    ) -> None:
        self._side = side
        self._rows = np.empty((side, width, 3), np.uint8)
        self._filled = 0
        self._sink = sink
        self._below = below

    def add(self, rows: UInt8Image) -> None:
        """Take the next rows, (n, width, 3)."""
        while len(rows):
            count = min(len(rows), self._side - self._filled)
            self._rows[self._filled : self._filled + count] = rows[:count]
            self._filled += count
            rows = rows[count:]
            if self._filled == self._side:
                self._emit()

    def finish(self) -> None:
        """Write the rows that do not fill a tile, here and in all smaller levels."""
        if self._filled:
            self._emit()
        if self._below is not None:
            self._below.finish()

    def _emit(self) -> None:
        rows, self._filled = self._rows[: self._filled], 0
        for left in range(0, rows.shape[1], self._side):
            self._sink(encode_tile(rows[:, left : left + self._side], self._side))
        if self._below is not None:
            self._below.add(halve(rows))


class TileSpool:
    """Keep a level's encoded tiles in a shared file until their turn to be written comes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._places: list[tuple[int, int]] = []

    def put(self, tile: bytes) -> None:
        """Append a tile."""
        self._places.append((self._file.seek(0, 2), len(tile)))
        self._file.write(tile)

    def __iter__(self) -> Iterator[bytes]:
        for start, length in self._places:
            self._file.seek(start)
            yield self._file.read(length)
