"""Measure how much of each patch a mask of the slide covers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsikit.geometry import PatchGrid
from wsikit.types import BoolMask, FloatArray


def foreground_shares(
    mask: BoolMask, mask_scale: tuple[float, float], grid: PatchGrid
) -> FloatArray:
    """Return the share of every patch of a grid that is foreground.

    Exact by area: a mask pixel that a patch's border cuts counts with the part inside. One pass
    over the mask along each axis, whatever the number of patches.

    Args:
        mask: (h, w) bool; pixel (i, j) covers `[j * sx, (j + 1) * sx)` across and
            `[i * sy, (i + 1) * sy)` down, in level-0 px.
        mask_scale: (sx, sy), level-0 px per mask pixel along x and y.
        grid: the slide's patches, unrounded squares of the level-0 frame.

    Returns:
        (rows, cols) float32 in 0..1, of the whole square: what lies outside the slide or outside
        the mask is background.
    """
    columns = _edges(grid.cols, grid.patch_px * grid.scale[0], grid.slide_px.width, mask_scale[0])
    rows = _edges(grid.rows, grid.patch_px * grid.scale[1], grid.slide_px.height, mask_scale[1])
    across = _between(mask, columns)
    covered = _between(across.T, rows).T
    square_px = grid.patch_px**2 * (grid.scale[0] / mask_scale[0]) * (grid.scale[1] / mask_scale[1])
    return np.clip(covered / square_px, 0, 1).astype(np.float32)


def _edges(patches: int, side_l0: float, slide_l0: int, scale: float) -> NDArray[np.float64]:
    """Return the (patches + 1,) borders between patches in mask px, none beyond the slide's."""
    return np.asarray(np.minimum(np.arange(patches + 1) * side_l0, slide_l0) / scale)


def _between(values: NDArray[np.generic], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Integrate each row of (h, w) values between neighbouring edges: (h, edges - 1).

    The integral of a piecewise constant function is linear between the entries of its running sum.
    """
    width = values.shape[1]
    edges = np.minimum(edges, width)
    whole = edges.astype(np.int64)
    part = edges - whole
    total = np.zeros((values.shape[0], width + 1), np.float64)
    np.cumsum(values, axis=1, out=total[:, 1:])
    upper = total[:, np.minimum(whole + 1, width)]
    lower = total[:, whole]
    return np.diff(lower + (upper - lower) * part, axis=1)
