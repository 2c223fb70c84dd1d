"""The one interface through which every source image is read.

A back-end names its levels and reads whole pixels of one of them; everything that could go wrong
twice (which level to use, how to average down, what lies past an edge) is decided here, once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import ClassVar, NamedTuple, Self

import numpy as np

from wsikit.errors import MppError, SlideError
from wsikit.geometry import SAME_MPP, round_half_up, same_mpp
from wsikit.slides.fingerprint import fingerprint
from wsikit.slides.resample import area_average
from wsikit.types import Box, Mpp, Size, UInt8Image

MPP_RANGE = (0.05, 50.0)
"""Micrometres per pixel that a slide can plausibly have."""

MPP_ANISOTROPY = 0.10
"""Largest relative difference between mpp x and y that is believed."""

WHITE = 255

LARGEST_SIDE = 2**31
"""Pixels along one side of a level beyond which its header is not believed."""

LARGEST_ASPECT = 1000
"""Sides of a slide that are further apart than this are not believed."""

READ_PX = 1 << 26
"""Source pixels held at once while averaging down; a larger read goes block by block."""


DAMAGE_PX = 128
"""Where damage is tolerated, it is narrowed down to squares of at most this side."""

MAX_DAMAGED = 400
"""Such squares in one block that tolerates them, beyond which the slide is no good slide."""

DAMAGED = "the file is damaged; copy it again from its source, or leave it out"
"""What to do about a slide whose bytes are wrong."""


class DamagedSlideError(SlideError):
    """The file is of a known kind but broken: no other reader is tried."""


class DamagedPixelsError(SlideError):
    """Some pixels of a good slide cannot be decoded; the rest can."""


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

    A pyramid halves and drops or keeps the odd last pixel, so the ratio of two sizes is a little
    off. Where one power of two, or one whole number, explains both sides to within a pixel, that
    is the truth.
    """
    ratio = (size_l0.width / size.width, size_l0.height / size.height)
    longer = ratio[0] if size.width >= size.height else ratio[1]
    power = math.log2(longer)
    for whole in (2.0 ** math.floor(power), 2.0 ** math.ceil(power), float(round(longer))):
        if whole >= 1 and _explains(size_l0, size, whole):
            return (whole, whole)
    return ratio


def _explains(size_l0: Size, size: Size, downsample: float) -> bool:
    return all(abs(full / downsample - own) < 1 for full, own in zip(size_l0, size, strict=True))


def pyramid(sizes: Sequence[Size], name: str) -> tuple[Level, ...]:
    """Return the levels that sizes in pixels amount to, the first being level 0.

    Args:
        sizes: (width, height) of each level, finest first.
        name: the slide's file name, for the message.

    Raises:
        DamagedSlideError: a size is absurd.
    """
    for size in sizes:
        believed = all(1 <= side < LARGEST_SIDE for side in size)
        if not believed or max(sizes[0]) > LARGEST_ASPECT * min(sizes[0]):
            raise DamagedSlideError(
                f"{name}: its header states a level of {size[0]} x {size[1]} px", DAMAGED
            )
    return tuple(Level(size, level_downsample(sizes[0], size)) for size in sizes)


class Slide(ABC):
    """Read one source image in the level-0 frame.

    A subclass sets `levels` (finest first, `levels[0]` is level 0), `metadata_mpp` and
    `properties`, and implements `read_level` and `close`. Instances are not shared between threads
    or processes: open the slide inside the task.

    Args:
        path: the slide's file (for DICOM, any file of the series or their folder).
        mpp: what the user says the level-0 mpp is; overrides the file's own.

    Attributes:
        backend: the name of the reader.
        levels: the resolutions, finest first.
        metadata_mpp: level-0 mpp (x, y) as the file states it, unchecked; None where it does not.
        properties: what may leave the file (see `wsikit.slides.properties`).
    """

    backend: ClassVar[str]
    path: Path
    levels: tuple[Level, ...]
    metadata_mpp: tuple[float | None, float | None]
    properties: Mapping[str, str]

    def __init__(self, path: Path, mpp: Mpp | None = None) -> None:
        self.path = path
        self._given_mpp = mpp
        self._damaged_l0: list[Box] | None = None

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
            DamagedPixelsError: the pixels cannot be decoded; other reads may still succeed.
            SlideError: nothing more can be read.
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
        ratio = (max(1.0, scale[0] / down[0]), max(1.0, scale[1] / down[1]))
        x, y = region.x / down[0], region.y / down[1]
        if max(ratio) - 1 < 1e-9:
            left, top = round_half_up(x), round_half_up(y)
            return self._read_padded(level, left, top, width, height)
        return self._read_averaged(level, (x, y), ratio, Size(width, height))

    @contextmanager
    def tolerating_damage(self) -> Iterator[list[Box]]:
        """Read white in place of pixels that cannot be decoded, within this block.

        Yields:
            The boxes that were read white, in the level-0 frame; it grows while the block runs.

        Raises:
            SlideError: from a read in the block, when there are more than `MAX_DAMAGED` of them.
        """
        before, self._damaged_l0 = self._damaged_l0, []
        try:
            yield self._damaged_l0
        finally:
            self._damaged_l0 = before

    def scale_to(self, mpp: Mpp | None) -> tuple[float, float]:
        """Return level-0 pixels per pixel at `mpp`; a level within 2 % of it is used as it is.

        Raises:
            SlideError: the slide is coarser than `mpp` along an axis; it is never upsampled.
        """
        if mpp is None:
            return (1.0, 1.0)
        own = self.mpp
        for level in self.levels:
            if same_mpp(Mpp(own.x * level.downsample[0], own.y * level.downsample[1]), mpp):
                return level.downsample
        scale = (mpp.x / own.x, mpp.y / own.y)
        if min(scale) < 1 / (1 + SAME_MPP):
            raise SlideError(
                f"{self.path.name}: the slide has {own.x:g} x {own.y:g} um/px, "
                f"coarser than the wanted {mpp.x:g} x {mpp.y:g}",
                "set tile.mpp to 'native' or to a coarser value",
            )
        return (max(1.0, scale[0]), max(1.0, scale[1]))

    def level_for(self, scale: tuple[float, float]) -> int:
        """Return the coarsest level still at least as fine as `scale` level-0 pixels a pixel."""
        fine_enough = [
            i
            for i, level in enumerate(self.levels)
            if level.downsample[0] <= scale[0] * (1 + 1e-6)
            and level.downsample[1] <= scale[1] * (1 + 1e-6)
        ]
        return max(fine_enough, key=lambda i: self.levels[i].downsample[0], default=0)

    def fingerprint(self) -> str:
        """Return the SHA-256, in hex, of the content of every file that makes up the slide.

        Raises:
            SlideError: a file cannot be read.
        """
        return fingerprint(self.path)

    def _read_averaged(
        self, level: int, origin: tuple[float, float], ratio: tuple[float, float], size: Size
    ) -> UInt8Image:
        """Average a level down, in blocks that hold at most `READ_PX` source pixels each."""
        side = math.sqrt(READ_PX)
        cols, rows = max(1, int(side / ratio[0])), max(1, int(side / ratio[1]))
        if size.width * ratio[0] * size.height * ratio[1] <= READ_PX:
            cols, rows = size
        out = np.empty((size.height, size.width, 3), np.uint8)
        for row in range(0, size.height, rows):
            for col in range(0, size.width, cols):
                part = Size(min(cols, size.width - col), min(rows, size.height - row))
                corner = (origin[0] + col * ratio[0], origin[1] + row * ratio[1])
                block = self._average_block(level, corner, ratio, part)
                out[row : row + part.height, col : col + part.width] = block
        return out

    def _average_block(
        self, level: int, origin: tuple[float, float], ratio: tuple[float, float], size: Size
    ) -> UInt8Image:
        left, top = math.floor(origin[0] + 1e-9), math.floor(origin[1] + 1e-9)
        right = math.ceil(origin[0] + size.width * ratio[0] - 1e-9)
        bottom = math.ceil(origin[1] + size.height * ratio[1] - 1e-9)
        source = self._read_padded(level, left, top, right - left, bottom - top)
        inside = (max(0.0, origin[0] - left), max(0.0, origin[1] - top))
        return area_average(source, inside, ratio, size)

    def _read_padded(self, level: int, x: int, y: int, width: int, height: int) -> UInt8Image:
        size = self.levels[level].size
        x0, y0 = max(0, x), max(0, y)
        x1, y1 = min(size.width, x + width), min(size.height, y + height)
        if (x0, y0, x1, y1) == (x, y, x + width, y + height):
            return self._read_decodable(level, x, y, width, height)
        image = np.full((height, width, 3), WHITE, np.uint8)
        if x1 > x0 and y1 > y0:
            inside = self._read_decodable(level, x0, y0, x1 - x0, y1 - y0)
            image[y0 - y : y1 - y, x0 - x : x1 - x] = inside
        return image

    def _read_decodable(self, level: int, x: int, y: int, width: int, height: int) -> UInt8Image:
        """Read a level; where damage is tolerated, halve the rectangle until the rest is had."""
        try:
            return self.read_level(level, x, y, width, height)
        except DamagedPixelsError:
            if self._damaged_l0 is None:
                raise
        if max(width, height) <= DAMAGE_PX:
            if len(self._damaged_l0) >= MAX_DAMAGED:
                raise SlideError(f"{self.path.name}: too much of it cannot be decoded", DAMAGED)
            down = self.levels[level].downsample
            self._damaged_l0.append(
                Box(x * down[0], y * down[1], width * down[0], height * down[1])
            )
            return np.full((height, width, 3), WHITE, np.uint8)
        if width >= height:
            half = width // 2
            left = self._read_decodable(level, x, y, half, height)
            right = self._read_decodable(level, x + half, y, width - half, height)
            return np.concatenate([left, right], axis=1)
        half = height // 2
        top = self._read_decodable(level, x, y, width, half)
        bottom = self._read_decodable(level, x, y + half, width, height - half)
        return np.concatenate([top, bottom])

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
