"""The one interface through which every source image is read.

A back-end names its levels and reads whole pixels of one of them; everything that could go wrong
twice (which level to use, how to average down, what lies past an edge) is decided here, once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, NamedTuple, Self

import numpy as np

from wsikit.errors import MppError, SlideError
from wsikit.geometry import same_mpp
from wsikit.slides.resample import area_average
from wsikit.types import Box, Mpp, Size, UInt8Image

MPP_RANGE = (0.05, 50.0)
"""Micrometres per pixel that a slide can plausibly have."""

MPP_ANISOTROPY = 0.10
"""Largest relative difference between mpp x and y that is believed."""

WHITE = 255


class Level(NamedTuple):
    """One resolution of a slide.

    Attributes:
        size: (width, height) in this level's pixels.
        downsample: level-0 pixels per pixel of this level, along x and y.
    """

    size: Size
    downsample: tuple[float, float]


def level_downsample(size_l0: Size, size: Size) -> tuple[float, float]:
    """Return level-0 pixels per pixel of a level, along x and y.

    A pyramid halves and drops or keeps the odd last pixel, so the ratio of two sizes is a little off;
    where a whole number explains the sizes to within a pixel, it is the truth.
    """

    def along(full: int, reduced: int) -> float:
        whole = round(full / reduced)
        return float(whole) if abs(full / whole - reduced) < 1 else full / reduced

    return (along(size_l0.width, size.width), along(size_l0.height, size.height))


class Slide(ABC):
    """Read one source image in the level-0 frame.

    A subclass sets `levels` (finest first, `levels[0]` is level 0), `metadata_mpp` and
    `properties`, and implements `read_level` and `close`. Instances are not shared between threads
    or processes: open the slide inside the task.

    Args:
        path: the slide's file (for DICOM, any file of the series).
        mpp: what the user says the level-0 mpp is; overrides the file's own.
    """

    backend: ClassVar[str]
    path: Path
    levels: tuple[Level, ...]
    metadata_mpp: tuple[float | None, float | None]
    properties: Mapping[str, str]

    def __init__(self, path: Path, mpp: Mpp | None = None) -> None:
        self.path = path
        self._given_mpp = mpp

    @abstractmethod
    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> UInt8Image:
        """Read whole pixels of one level.

        Args:
            level: index into `levels`.
            x: left edge in the level's own pixels, inside the level.
            y: top edge in the level's own pixels, inside the level.
            width: pixels to read; the rectangle lies wholly inside the level.
            height: pixels to read.

        Returns:
            (height, width, 3) uint8 RGB. Where the file holds no data, white.

        Raises:
            SlideError: the pixels cannot be decoded.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the file."""

    @property
    def size_l0(self) -> Size:
        """(width, height) at full resolution."""
        return self.levels[0].size

    @property
    def mpp(self) -> Mpp:
        """Micrometres per level-0 pixel.

        Raises:
            MppError: the file states none that can be believed and the user gave none.
        """
        if self._given_mpp is not None:
            return checked_mpp(self._given_mpp, self.path.name)
        return checked_mpp(self.metadata_mpp, self.path.name)

    def read(self, region: Box, mpp: Mpp | None = None) -> UInt8Image:
        """Read a region at a resolution, averaging over area where it is coarser than a level.

        The finest level that is coarse enough not to be averaged needlessly is used: the coarsest
        one that is still at least as fine as `mpp`. What lies outside the slide is white.

        Args:
            region: a box in the level-0 frame; it may be fractional and may leave the slide.
            mpp: wanted micrometres per pixel; None reads level 0. A level within 2 % of it is read
                unresampled (the region's corner is then rounded to that level's whole pixels).

        Returns:
            (H, W, 3) uint8 RGB, with W = round(width * level-0 mpp / wanted mpp), H alike.

        Raises:
            SlideError: `mpp` is finer than the slide, or pixels cannot be decoded.
        """
        scale = self.scale_to(mpp)
        width = max(1, math.floor(region.width / scale[0] + 0.5))
        height = max(1, math.floor(region.height / scale[1] + 0.5))
        level = self.level_for(scale)
        down = self.levels[level].downsample
        ratio = (scale[0] / down[0], scale[1] / down[1])
        x, y = region.x / down[0], region.y / down[1]
        if max(abs(ratio[0] - 1), abs(ratio[1] - 1)) < 1e-9:
            left, top = math.floor(x + 0.5), math.floor(y + 0.5)
            return self._read_padded(level, left, top, width, height)
        left, top = math.floor(x), math.floor(y)
        right = math.ceil(x + width * ratio[0] - 1e-9)
        bottom = math.ceil(y + height * ratio[1] - 1e-9)
        source = self._read_padded(level, left, top, max(1, right - left), max(1, bottom - top))
        return area_average(source, (x - left, y - top), ratio, Size(width, height))

    def scale_to(self, mpp: Mpp | None) -> tuple[float, float]:
        """Return level-0 pixels per pixel at `mpp`; a level within 2 % of it is used as it is.

        Raises:
            SlideError: the slide is coarser than `mpp`; it is never upsampled.
        """
        if mpp is None:
            return (1.0, 1.0)
        own = self.mpp
        for level in self.levels:
            if same_mpp(Mpp(own.x * level.downsample[0], own.y * level.downsample[1]), mpp):
                return level.downsample
        scale = (mpp.x / own.x, mpp.y / own.y)
        if min(scale) < 1:
            raise SlideError(
                f"{self.path.name}: the slide has {own.x:g} um/px, coarser than the wanted {mpp.x:g}",
                "set tile.mpp to 'native' or to a coarser value",
            )
        return scale

    def level_for(self, scale: tuple[float, float]) -> int:
        """Return the coarsest level still at least as fine as `scale` level-0 pixels a pixel."""
        fine_enough = [
            i
            for i, level in enumerate(self.levels)
            if level.downsample[0] <= scale[0] * (1 + 1e-6)
            and level.downsample[1] <= scale[1] * (1 + 1e-6)
        ]
        return max(fine_enough, key=lambda i: self.levels[i].downsample[0], default=0)

    def _read_padded(self, level: int, x: int, y: int, width: int, height: int) -> UInt8Image:
        size = self.levels[level].size
        x0, y0 = max(0, x), max(0, y)
        x1, y1 = min(size.width, x + width), min(size.height, y + height)
        if (x0, y0, x1, y1) == (x, y, x + width, y + height):
            return self.read_level(level, x, y, width, height)
        image = np.full((height, width, 3), WHITE, np.uint8)
        if x1 > x0 and y1 > y0:
            inside = self.read_level(level, x0, y0, x1 - x0, y1 - y0)
            image[y0 - y : y1 - y, x0 - x : x1 - x] = inside
        return image

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def checked_mpp(mpp: tuple[float | None, float | None], name: str) -> Mpp:
    """Return an mpp that can be believed.

    Args:
        mpp: (x, y) in micrometres per pixel; None where the file states nothing.
        name: the slide's file name, for the message.

    Raises:
        MppError: absent, not finite, outside `MPP_RANGE`, or x and y further apart than
            `MPP_ANISOTROPY`. Nothing is guessed.
    """
    x, y = mpp
    low, high = MPP_RANGE
    if x is None or y is None:
        problem = "the file states no micrometres per pixel"
    elif not (math.isfinite(x) and math.isfinite(y)):
        problem = f"its micrometres per pixel ({x}, {y}) are not finite"
    elif not (low <= x <= high and low <= y <= high):
        problem = f"its micrometres per pixel ({x:g}, {y:g}) lie outside {low:g}..{high:g}"
    elif max(x, y) / min(x, y) - 1 > MPP_ANISOTROPY:
        problem = f"its micrometres per pixel differ by more than 10 % ({x:g}, {y:g})"
    else:
        return Mpp(float(x), float(y))
    raise MppError(
        f"{name}: {problem}",
        "give the true value with --mpp, or in the 'mpp' column of the cohort CSV",
    )
