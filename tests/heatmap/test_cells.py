"""Cells have the mean of all reads over them, as adding up pixel by pixel finds it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from wsikit.heatmap.cells import cell_means
from wsikit.types import FloatArray


def pixel_by_pixel(
    reads: NDArray[np.int64], values: FloatArray, span: tuple[int, int], cell: int = 3
) -> dict[tuple[int, int], float]:
    """Average over every pixel of every cell, one read after another."""
    sums: dict[tuple[int, int], list[float]] = {}
    for (row, col), value in zip(reads.tolist(), values.tolist(), strict=True):
        for y in range(row * cell, (row + span[0]) * cell):
            for x in range(col * cell, (col + span[1]) * cell):
                sums.setdefault((y, x), []).append(value)
    means = {pixel: sum(own) / len(own) for pixel, own in sums.items()}
    return {(y // cell, x // cell): mean for (y, x), mean in means.items()}


@pytest.mark.parametrize("span", [(1, 1), (4, 4), (2, 3), (1, 5)])
def test_means_are_those_of_adding_up_pixels(span: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(span))
    places = [(y, x) for y in range(3, 12) for x in range(7, 21)]
    chosen = rng.permutation(len(places))[:40]
    reads = np.array(places, np.int64)[chosen]
    values = rng.random(40).astype(np.float32)
    cells, means = cell_means(reads, values, span)
    wanted = pixel_by_pixel(reads, values, span)
    assert list(map(tuple, cells.tolist())) == sorted(wanted)
    np.testing.assert_allclose(means, [wanted[tuple(cell)] for cell in cells.tolist()], rtol=1e-6)


def test_one_read_a_cell_keeps_its_very_score_and_order_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    reads = np.stack([np.arange(50) * 2, np.arange(50)[::-1] * 3], axis=1)
    values = rng.random(50).astype(np.float32)
    cells, means = cell_means(reads, values, (1, 1))
    assert (cells == reads).all()
    assert means.tobytes() == values.tobytes()
    order = rng.permutation(50)
    again = cell_means(reads[order], values[order], (3, 2))
    for ours, theirs in zip(cell_means(reads, values, (3, 2)), again, strict=True):
        assert ours.tobytes() == theirs.tobytes()


def test_nothing_gives_nothing() -> None:
    cells, means = cell_means(np.empty((0, 2), np.int64), np.empty(0, np.float32), (4, 4))
    assert cells.shape == (0, 2)
    assert means.shape == (0,)
