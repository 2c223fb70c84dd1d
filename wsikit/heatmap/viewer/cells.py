"""Scores as a small raster, one cell a step of the patch grid, that a browser enlarges at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsikit.types import FloatArray, Size

FINEST = 16
"""A cell is not smaller than this part of a patch: closer steps than that are no grid."""

MOST_CELLS = 4_000_000


@dataclass(frozen=True)
class Cells:
    """Mean scores over a regular grid.

    Attributes:
        start_l0: (x, y) of the first cell's corner in level-0 px.
        step_l0: (width, height) of a cell in level-0 px; fractional where the patches' is.
        values: (rows, cols) float32, NaN where no patch lies.
    """

    start_l0: tuple[float, float]
    step_l0: tuple[float, float]
    values: FloatArray


def cells_of(xy_l0: NDArray[np.int32], side_l0: Size, values: NDArray[np.floating]) -> Cells:
    """Lay scores on a grid of the patches' own step; where patches overlap, their mean counts.

    A cell takes part in a patch where its centre lies inside. Where the patches follow no grid,
    cells are a quarter of a patch, so borders are true to an eighth of one.

    Args:
        xy_l0: (N, 2) int32, top left corners, x and y in level-0 px; N may be 0.
        side_l0: width and height of a patch in level-0 px.
        values: (N,) floats.
    """
    if not len(xy_l0):
        empty = np.full((1, 1), np.nan, np.float32)
        return Cells((0.0, 0.0), (float(side_l0.width), float(side_l0.height)), empty)
    start = xy_l0.min(axis=0).astype(np.float64)
    span = xy_l0.max(axis=0) + np.array(side_l0) - start
    step = np.array([_step(xy_l0[:, axis], side_l0[axis]) for axis in (0, 1)])
    while np.prod(np.ceil(span / step) + 1) > MOST_CELLS:
        step = step * 2
    first = np.ceil((xy_l0 - start) / step - 0.5).astype(np.int64)
    last = np.ceil((xy_l0 - start + np.array(side_l0)) / step - 0.5).astype(np.int64)
    last = np.maximum(last, first + 1)
    shape = (int(last[:, 1].max()), int(last[:, 0].max()))
    count = _sum(shape, first, last, np.ones(len(values)))
    total = _sum(shape, first, last, values.astype(np.float64))
    mean = np.divide(total, count, out=np.full(shape, np.nan), where=count > 0.5)
    return Cells(
        (float(start[0]), float(start[1])), (float(step[0]), float(step[1])),
        mean.astype(np.float32),
    )  # fmt: skip


def _step(places: NDArray[np.int32], side: int) -> float:
    """Return the distance between neighbouring patches along an axis, to a fraction of a pixel.

    Corners are rounded to whole pixels, so neighbours lie now one more, now one less apart: the
    step is the mean, measured from the first to the last.
    """
    known = np.unique(places).astype(np.float64)
    if len(known) == 1:
        return float(side)
    gaps = np.diff(known)
    guess = float(gaps[gaps < 1.5 * gaps.min()].mean())
    length = known[-1] - known[0]
    step = float(length / max(1, round(length / guess)))
    off = (known - known[0]) / step
    regular = np.abs(off - np.round(off)).max() * step <= 1.01
    return step if regular and side / FINEST <= step <= side + 1 else side / 4


def _sum(
    shape: tuple[int, int],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Add up weights over the half-open ranges of cells, by their four corners and running sums."""
    corners = np.zeros((shape[0] + 1, shape[1] + 1))
    for rows, cols, sign in (
        (first, first, 1), (first, last, -1), (last, first, -1), (last, last, 1),
    ):  # fmt: skip
        np.add.at(corners, (rows[:, 1], cols[:, 0]), sign * weights)
    sums: NDArray[np.float64] = corners.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
    return sums
