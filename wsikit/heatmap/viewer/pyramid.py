"""Cut a slide into a pyramid of JPEG tiles, a strip at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import imagecodecs
import numpy as np
from PIL import Image

from wsikit.pyramid import halve as halve_even
from wsikit.types import Box, Mpp, Size, UInt8Image

TILE_PX = 512

PIECE_PX = 4096
"""Width of what is read at once; a strip of a wide slide is put together from such pieces."""

Read = Callable[[Box, Mpp], UInt8Image]
"""Read a level-0 box at micrometres per pixel: (H, W, 3) uint8, white outside the slide."""

Sink = Callable[[str, bytes], None]
"""Take a file's path inside the page's folder, and what it holds."""


@dataclass(frozen=True)
class Pyramid:
    """Say how a slide is cut: level 0 is one tile, the last level the finest.

    Attributes:
        size: (width, height) of the finest level; its pixels are square in micrometres.
        scale: level-0 px of the slide per pixel of the finest level, along x and y.
        mpp: micrometres per pixel of the finest level.
    """

    size: Size
    scale: tuple[float, float]
    mpp: float

    @property
    def levels(self) -> int:
        """How many levels there are."""
        return 1 + max(0, math.ceil(math.log2(max(self.size) / TILE_PX)))


def plan_pyramid(size_l0: Size, mpp_l0: Mpp, mpp: float) -> Pyramid:
    """Return the pyramid of a slide.

    Args:
        size_l0: (width, height) in level-0 px.
        mpp_l0: micrometres per level-0 px; where x and y differ, the pyramid is physically true.
        mpp: wanted micrometres per pixel of the finest level.
    """
    width = max(1, round(size_l0.width * mpp_l0.x / mpp))
    height = max(1, round(size_l0.height * mpp_l0.y / mpp))
    scale = (size_l0.width / width, size_l0.height / height)
    return Pyramid(Size(width, height), scale, mpp)


def write_pyramid(pyramid: Pyramid, read: Read, sink: Sink, quality: int) -> UInt8Image:
    """Write every tile as `tiles/<level>/<column>_<row>.jpg`.

    At most two strips a level are held, whatever the height of the slide.

    Args:
        pyramid: how to cut.
        read: gives the slide's pixels.
        sink: takes the files.
        quality: of the JPEG, 1..100.

    Returns:
        The coarsest level: the whole slide as one tile.
    """
    levels = _Levels(sink, quality)
    for top in range(0, pyramid.size.height, TILE_PX):
        rows = min(TILE_PX, pyramid.size.height - top)
        levels.add(pyramid.levels - 1, _read_strip(pyramid, read, top, rows))
    return levels.finish()


def encode_jpeg(image: UInt8Image, quality: int) -> bytes:
    """Return (H, W, 3) uint8 as JPEG with colour at half resolution."""
    pixels = np.ascontiguousarray(image)
    return bytes(imagecodecs.jpeg8_encode(pixels, level=quality, subsampling="420"))


def fit(image: UInt8Image, size: Size) -> UInt8Image:
    """Resample an image where it is not of the wanted size: a level of nearly the mpp was used."""
    if image.shape[:2] == (size.height, size.width):
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR), np.uint8)


def _read_strip(pyramid: Pyramid, read: Read, top: int, rows: int) -> UInt8Image:
    strip = np.empty((rows, pyramid.size.width, 3), np.uint8)
    across, down = pyramid.scale
    for left in range(0, pyramid.size.width, PIECE_PX):
        cols = min(PIECE_PX, pyramid.size.width - left)
        box = Box(left * across, top * down, cols * across, rows * down)
        piece = read(box, Mpp(pyramid.mpp, pyramid.mpp))
        strip[:, left : left + cols] = fit(piece, Size(cols, rows))
    return strip


class _Levels:
    """Cut strips into tiles, and hand each pair of strips, halved, to the next coarser level."""

    def __init__(self, sink: Sink, quality: int) -> None:
        self._sink = sink
        self._quality = quality
        self._waiting: dict[int, list[UInt8Image]] = {}
        self._rows: dict[int, int] = {}
        self._coarsest: UInt8Image | None = None

    def add(self, level: int, strip: UInt8Image) -> None:
        row = self._rows.get(level, 0)
        self._rows[level] = row + 1
        for col, left in enumerate(range(0, strip.shape[1], TILE_PX)):
            tile = encode_jpeg(strip[:, left : left + TILE_PX], self._quality)
            self._sink(f"tiles/{level}/{col}_{row}.jpg", tile)
        if level == 0:
            self._coarsest = strip
            return
        self._waiting.setdefault(level, []).append(strip)
        if len(self._waiting[level]) == 2:
            self._pass_on(level)

    def finish(self) -> UInt8Image:
        """Pass on what waits for a second strip that never comes; return the coarsest level."""
        for level in range(max(self._rows), 0, -1):
            if self._waiting.get(level):
                self._pass_on(level)
        if self._coarsest is None:
            raise ValueError("no strip was added")
        return self._coarsest

    def _pass_on(self, level: int) -> None:
        strips, self._waiting[level] = self._waiting[level], []
        self.add(level - 1, halve(np.concatenate(strips)))


def halve(image: UInt8Image) -> UInt8Image:
    """Average blocks of 2 x 2, rounding halves up; an odd last row or column counts twice."""
    odd = (image.shape[0] % 2, image.shape[1] % 2)
    if any(odd):
        image = np.pad(image, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
    return halve_even(image)
