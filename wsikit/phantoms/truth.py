"""The exact truth of a phantom: which places are tissue and which are tumour."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsikit.errors import UsageError
from wsikit.phantoms.noise import Coordinates, as_float64
from wsikit.phantoms.regions import regions_of
from wsikit.phantoms.spec import PhantomSpec
from wsikit.types import BoolMask

STRIP_PIXELS = 1 << 20
"""Mask pixels worked out at a time, so that memory stays with the mask."""


def tumour_mask(spec: PhantomSpec, downsample: int) -> BoolMask:
    """Draw the tumour at any resolution.

    A mask pixel is tumour where the centre of its square is. The mask covers the slide: its size is
    the slide's divided by `downsample`, rounded up.

    Args:
        spec: the slide.
        downsample: level-0 pixels per mask pixel along both axes, 1 or more.

    Returns:
        (ceil(height / downsample), ceil(width / downsample)) bool.

    Raises:
        UsageError: `downsample` is less than 1.
    """
    return _mask(spec, downsample, regions_of(spec).is_tumour)


def tissue_mask(spec: PhantomSpec, downsample: int) -> BoolMask:
    """Draw the tissue, vacuoles and all, at any resolution; see `tumour_mask`."""
    regions = regions_of(spec)
    return _mask(spec, downsample, lambda x, y: regions.tissue(x, y) > 0)


def patch_truth(
    mask: BoolMask,
    mask_downsample: float | tuple[float, float],
    x: ArrayLike,
    y: ArrayLike,
    width: ArrayLike,
    height: ArrayLike,
) -> NDArray[np.float64]:
    """Measure the share of each patch that a mask covers.

    Exact for any rectangle, also where it cuts mask pixels: the integral of a piecewise constant
    image is piecewise bilinear between the entries of its summed-area table.

    Args:
        mask: (H, W) bool, for example `tumour_mask`; what lies outside it is not covered.
        mask_downsample: level-0 pixels per mask pixel, one number or (x, y).
        x: (N,) left edges in level-0 px.
        y: (N,) top edges in level-0 px.
        width: (N,) or one number, level-0 px, above 0.
        height: (N,) or one number, level-0 px, above 0.

    Returns:
        (N,) float64 in 0..1.
    """
    pair = mask_downsample if isinstance(mask_downsample, tuple) else (mask_downsample,) * 2
    left, top = as_float64(x) / pair[0], as_float64(y) / pair[1]
    wide, high = as_float64(width) / pair[0], as_float64(height) / pair[1]
    table = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    table[1:, 1:] = mask.cumsum(0, dtype=np.int64).cumsum(1)
    right, bottom = left + wide, top + high
    covered = (
        _integral(table, right, bottom)
        - _integral(table, left, bottom)
        - _integral(table, right, top)
        + _integral(table, left, top)
    )
    share: NDArray[np.float64] = np.clip(covered / (wide * high), 0, 1)
    return share


def _integral(table: NDArray[np.int64], x: Coordinates, y: Coordinates) -> NDArray[np.float64]:
    y, x = np.clip(y, 0, table.shape[0] - 1), np.clip(x, 0, table.shape[1] - 1)
    row = np.minimum(y.astype(np.int64), max(table.shape[0] - 2, 0))
    column = np.minimum(x.astype(np.int64), max(table.shape[1] - 2, 0))
    v, u = y - row, x - column
    upper = table[row, column] * (1 - u) + table[row, column + 1] * u
    lower = table[row + 1, column] * (1 - u) + table[row + 1, column + 1] * u
    total: NDArray[np.float64] = upper * (1 - v) + lower * v
    return total


def _mask(
    spec: PhantomSpec,
    downsample: int,
    inside: Callable[[Coordinates, Coordinates], NDArray[np.bool_]],
) -> BoolMask:
    if downsample < 1:
        raise UsageError(f"a mask cannot have downsample {downsample}", "use 1 or more")
    width = math.ceil(spec.size.width / downsample)
    height = math.ceil(spec.size.height / downsample)
    x = (np.arange(width) + 0.5)[None, :] * (downsample * spec.mpp.x)
    y = (np.arange(height) + 0.5)[:, None] * (downsample * spec.mpp.y)
    mask = np.empty((height, width), np.bool_)
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        mask[top : top + rows] = inside(x, y[top : top + rows])
    return mask
