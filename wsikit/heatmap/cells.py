"""Average the scores of overlapping reads over cells of the size of their stride."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsikit.types import FloatArray


def cell_means(
    reads: NDArray[np.int64], values: FloatArray, span: tuple[int, int]
) -> tuple[NDArray[np.int64], FloatArray]:
    """Give each cell the mean score of all reads that cover it.

    Corners of reads lie on the grid of cells, and a read covers whole cells. Sums are of float64
    and each cell's terms are added in one order, so a cell that one read covers has its very score.

    Args:
        reads: (M, 2) int64, row and column of each read's first cell, at least 0, no two alike.
        values: (M,) float32, the reads' scores.
        span: how many cells a read covers along y and x, at least 1.

    Returns:
        (K, 2) int64, row and column of every cell that a read covers, rows first; (K,) float32.
    """
    if not len(reads):
        return np.empty((0, 2), np.int64), np.empty(0, np.float32)
    first = reads.min(axis=0)
    places = reads - first
    shape = tuple(places.max(axis=0) + np.asarray(span))
    total, count = np.zeros(shape), np.zeros(shape)
    total[places[:, 0], places[:, 1]] = values
    count[places[:, 0], places[:, 1]] = 1
    for axis, cells in enumerate(span):
        total, count = _spread(total, cells, axis), _spread(count, cells, axis)
    covered = np.argwhere(count > 0)
    means = total[count > 0] / count[count > 0]
    return covered + first, means.astype(np.float32)


def _spread(grid: NDArray[np.float64], cells: int, axis: int) -> NDArray[np.float64]:
    """Add to each cell the `cells - 1` cells before it along an axis."""
    grid = np.moveaxis(grid, axis, 0)
    out = grid.copy()
    for shift in range(1, cells):
        out[shift:] += grid[:-shift]
    return np.moveaxis(out, 0, axis)
