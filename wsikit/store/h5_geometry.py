"""Say where the patches of a feature file lie: attributes of three tools in, one geometry out.

A magnification is a bin ("40x" is 0.23 um/px on one scanner and 0.27 on another), so no resolution
is ever taken from one; TRIDENT's two are used for their ratio alone, as TRIDENT itself does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from wsikit.errors import SlideError
from wsikit.geometry import PatchGrid, round_half_up
from wsikit.store.h5_layout import H5Facts
from wsikit.types import Mpp, Size

LARGEST_PATCH = 16_384
LARGEST_SIDE = 2**31 - 1
SCALE_RANGE = (1 / 64, 4096.0)
"""Level-0 px per px of a patch that are believed."""

MOST_LEVELS = 64

MOST_PLACES = 50_000_000
"""Places of a patch grid beyond which a file is not believed."""


@dataclass(frozen=True)
class H5Geometry:
    """What a file says of its patches, understood.

    Attributes:
        patch_px: side of a patch in the pixels it was read at.
        scale: level-0 px per such pixel, x and y.
        size_l0: (width, height) of the slide in level-0 px; None where not stated.
        mpp_l0: um per level-0 px; None where not stated.
        magnification: what TRIDENT calls the patches' magnification; None where not stated.
        level: the pyramid level that CLAM read; None where not stated.
        downsamples: level of the slide's pyramid -> its downsample, as far as stated.
    """

    patch_px: int
    scale: tuple[float, float]
    size_l0: Size | None = None
    mpp_l0: Mpp | None = None
    magnification: float | None = None
    level: int | None = None
    downsamples: Mapping[int, float] = field(default_factory=dict)


def stated_geometry(facts: H5Facts, name: str, side_l0: int | None = None) -> H5Geometry:
    """Understand a file's attributes.

    Args:
        facts: from `h5_reader`.
        name: the file's name, for messages.
        side_l0: what the user says a patch's side is in level-0 px.

    Raises:
        SlideError: the attributes do not say how large a patch is, contradict each other or the
            user, or are absurd.
    """
    if facts.own is not None:
        own = facts.own
        geometry = H5Geometry(own.patch_px, own.scale, own.size_l0, own.mpp_l0)
    elif facts.patch_size_level0 is not None or facts.level0_magnification is not None:
        geometry = _trident(facts, name)
    elif facts.patch_size is not None and facts.patch_level is not None:
        geometry = _clam(facts, name)
    elif side_l0 is not None:
        geometry = H5Geometry(side_l0, (1.0, 1.0))
    else:
        raise SlideError(
            f"{name}: does not say how large its patches are",
            "give --coords with CLAM's or TRIDENT's patch files, or --patch-size-level0",
        )
    geometry = replace(geometry, downsamples=_downsamples(facts))
    _check(geometry, name)
    stated = round_half_up(geometry.patch_px * geometry.scale[0])
    if side_l0 is not None and side_l0 != stated:
        raise SlideError(
            f"{name}: says its patches are {stated} level-0 px, not {side_l0}",
            "leave out --patch-size-level0",
        )
    return geometry


def _trident(facts: H5Facts, name: str) -> H5Geometry:
    """Follow TRIDENT: a patch's side is rounded, although the attribute beside it is cut."""
    stated, own, target = (
        facts.patch_size_level0, facts.level0_magnification, facts.target_magnification
    )  # fmt: skip
    patch_px = facts.patch_size if facts.patch_size is not None else stated
    side = stated
    if facts.patch_size is not None and own and target:
        side = facts.patch_size * own / target
        if abs(side) <= LARGEST_SIDE:  # a larger one is refused below
            side = round(side)
        if stated is not None and abs(side - stated) > 1:
            raise SlideError(
                f"{name}: patch_size_level0 is {stated:g}, but patch_size and the magnifications "
                f"make it {side:g}",
                "extract this slide again",
            )
    if patch_px is None or side is None or not patch_px > 0:
        raise SlideError(f"{name}: its patch_size is missing or zero", "extract this slide again")
    whole = _size(facts.level0_width, facts.level0_height)
    scale = side / _whole(patch_px, "patch_size", name)
    return H5Geometry(int(patch_px), (scale, scale), whole, magnification=target)


def _clam(facts: H5Facts, name: str) -> H5Geometry:
    """Follow CLAM: `patch_size` counts pixels of `patch_level`."""
    level = _whole(facts.patch_level, "patch_level", name)
    if facts.custom_downsample not in (None, 1.0):
        raise SlideError(
            f"{name}: has a custom_downsample of {facts.custom_downsample:g}",
            "tools differ on what that means: extract this slide again without it",
        )
    down = facts.downsample
    if level == 0 and down is None:
        down = (1.0, 1.0)
    if down is None:
        raise SlideError(
            f"{name}: was read at level {level}, whose downsample is not stated",
            "extract this slide again",
        )
    dim = facts.level_dim
    size = _size(*dim) if level == 0 and dim is not None and len(dim) == 2 else None
    scale = (down[0], down[-1])
    return H5Geometry(
        _whole(facts.patch_size, "patch_size", name), scale, size, level=level
    )  # fmt: skip


def _downsamples(facts: H5Facts) -> dict[int, float]:
    level, down = facts.patch_level, facts.downsample
    if level is None or down is None or not 0 <= level < MOST_LEVELS or not min(down) >= 1:
        return {}
    return {int(level): down[0]}


def _whole(value: float | None, what: str, name: str) -> int:
    if value is None or value != int(value) or value < 0:
        raise SlideError(f"{name}: its {what} is {value}, no whole number", "extract it again")
    return int(value)


def _size(width: float | None, height: float | None) -> Size | None:
    return None if width is None or height is None else Size(int(width), int(height))


def _check(geometry: H5Geometry, name: str) -> None:
    low, high = SCALE_RANGE
    absurd = not (1 <= geometry.patch_px <= LARGEST_PATCH)
    absurd |= not all(low <= scale <= high for scale in geometry.scale)
    if geometry.size_l0 is not None:
        absurd |= not all(1 <= side <= LARGEST_SIDE for side in geometry.size_l0)
    if absurd:
        size = geometry.size_l0
        slide = f" in a slide of {size.width:g} x {size.height:g} px" if size else ""
        raise SlideError(
            f"{name}: states patches of {geometry.patch_px:g} px at a scale of "
            f"{geometry.scale[0]:g}{slide}, which is not believed",
            "extract this slide again",
        )


def reach(coords: NDArray[np.int64], geometry: H5Geometry) -> Size:
    """Return the smallest slide that holds all patches, at least one patch large.

    Args:
        coords: (N, 2) int64, corners in level-0 px.
        geometry: of the patches.
    """
    sides = (round_half_up(geometry.patch_px * scale) for scale in geometry.scale)
    far = coords.max(axis=0) if len(coords) else np.zeros(2, np.int64)
    width, height = (int(corner) + side for corner, side in zip(far, sides, strict=True))
    return Size(min(width, LARGEST_SIDE), min(height, LARGEST_SIDE))


def check_corners(coords: NDArray[np.int64], grid: PatchGrid, name: str) -> None:
    """See that patches can lie in a slide: inside it, and each one once.

    Args:
        coords: (N, 2) int64, corners in level-0 px, none negative.
        grid: of the slide.
        name: the file's name, for messages.

    Raises:
        SlideError: a corner lies outside, two patches are the same, or the grid is absurd.
    """
    if grid.rows * grid.cols > MOST_PLACES:
        raise SlideError(
            f"{name}: a slide of {grid.slide_px.width} x {grid.slide_px.height} px with patches of "
            f"{grid.patch_px} px is not believed",
            "check --patch-size-level0 and the slide's size",
        )
    outside = np.flatnonzero((coords >= np.array(grid.slide_px)).any(axis=1))
    if len(outside):
        x, y = coords[outside[0]]
        raise SlideError(
            f"{name}: {len(outside)} patches begin outside the slide "
            f"(x {x}, y {y}; it has {grid.slide_px.width} x {grid.slide_px.height} px)",
            "the coordinates must be level-0 pixels of this very slide",
        )
    places, counts = np.unique(coords, axis=0, return_counts=True)
    if (counts > 1).any():
        x, y = places[np.argmax(counts > 1)]
        raise SlideError(
            f"{name}: {int((counts > 1).sum())} patches stand in it more than once (x {x}, y {y})",
            "the file was appended to: delete it and extract this slide again",
        )


def cells(coords: NDArray[np.int64], grid: PatchGrid) -> NDArray[np.int32]:
    """Return the cell of the patch grid in which each patch's corner lies.

    A patch that is on the grid gets its own row and column back, rounded corners included. Patches
    that do not overlap never share a cell, whatever raster they lie on; overlapping ones can.

    Args:
        coords: (N, 2) int64, corners x and y in level-0 px, inside the slide.
        grid: of the slide.

    Returns:
        (N, 2) int32, row and column.
    """
    side = np.array(grid.scale) * grid.patch_px
    col_row = np.floor((coords + 0.5) / side + 1e-9).astype(np.int64)
    inside = np.minimum(col_row, np.array([grid.cols - 1, grid.rows - 1]))
    return np.ascontiguousarray(inside[:, ::-1]).astype(np.int32)


def on_grid(coords: NDArray[np.int64], grid: PatchGrid) -> bool:
    """Tell whether every patch is one of the grid's own, so that none overlaps another.

    Args:
        coords: (N, 2) int64, corners x and y in level-0 px, each one once.
        grid: of the slide.
    """
    step = np.array(grid.scale) * grid.patch_px
    own = np.floor(cells(coords, grid)[:, ::-1] * step + 0.5)
    return bool((own == coords).all())


def level_of_scale(scale: tuple[float, float], downsamples: Mapping[int, float]) -> int | None:
    """Return the pyramid level that patches of a scale were read at; None where it is no level.

    Args:
        scale: level-0 px per pixel, x and y.
        downsamples: level -> level-0 px per its pixel, as far as known.
    """
    known = {0: 1.0, **downsamples}
    for level, downsample in sorted(known.items()):
        if all(math.isclose(part, downsample, rel_tol=1e-6) for part in scale):
            return level
    return None
