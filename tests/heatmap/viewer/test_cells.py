from __future__ import annotations

import numpy as np
import pytest

from wsikit.geometry import PatchGrid
from wsikit.heatmap.paint import score_map
from wsikit.heatmap.scores import PatchScores
from wsikit.heatmap.viewer import cells as module
from wsikit.heatmap.viewer.cells import Cells, cells_of
from wsikit.types import Size

RNG = np.random.default_rng(4)


def at(cells: Cells, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    col = np.floor((x - cells.start_l0[0]) / cells.step_l0[0]).astype(int)
    row = np.floor((y - cells.start_l0[1]) / cells.step_l0[1]).astype(int)
    rows, cols = cells.values.shape
    inside = (row >= 0) & (col >= 0) & (row < rows) & (col < cols)
    out = np.full(x.shape, np.nan)
    out[inside] = cells.values[row[inside], col[inside]]
    return out


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.978, 1.0333), (3.917, 4.1)])
def test_patches_of_a_rounded_grid_each_have_one_cell(scale: tuple[float, float]):
    """250 columns: a step taken as a whole number would be 100 px off at the end."""
    grid = PatchGrid(Size(10**6, 10**6), scale, 256)
    places = np.unique(RNG.integers(0, (200, 250), (3000, 2)), axis=0)
    xy = np.array([grid.origin_l0(r, c) for r, c in places.tolist()], np.int32)
    values = RNG.random(len(xy)).astype(np.float32)
    side = Size(*grid.side_l0())
    cells = cells_of(xy, side, values)
    assert int(np.isfinite(cells.values).sum()) == len(xy)
    middle = xy + np.array(side) / 2
    np.testing.assert_array_equal(at(cells, middle[:, 0], middle[:, 1]), values)


def test_overlapping_patches_are_averaged_as_the_pictures_are():
    across, down = np.meshgrid(np.arange(12) * 50 + 30, np.arange(9) * 60 + 70)
    xy = np.stack([across.ravel(), down.ravel()], axis=1).astype(np.int32)
    keep = RNG.random(len(xy)) < 0.8
    xy, side = xy[keep], Size(200, 240)
    values = RNG.random(len(xy)).astype(np.float32)
    cells = cells_of(xy, side, values)
    assert cells.step_l0 == (50, 60)
    expected, scored = score_map(
        (1000, 1000), (1.0, 1.0), PatchScores(xy, side, values, "p", "probability")
    )
    x, y = np.meshgrid(np.arange(1000) + 0.5, np.arange(1000) + 0.5)
    got = at(cells, x, y)
    np.testing.assert_array_equal(np.isfinite(got), scored)
    np.testing.assert_allclose(got[scored], expected[scored], atol=1e-6)


def test_patches_without_a_grid_lie_true_to_an_eighth_of_one():
    xy = RNG.integers(0, 5000, (30, 2)).astype(np.int32)
    side = Size(400, 320)
    cells = cells_of(xy, side, np.ones(30, np.float32))
    x, y = np.meshgrid(np.arange(0, 5600, 7) + 0.5, np.arange(0, 5600, 7) + 0.5)

    def covered(by: float) -> np.ndarray:
        out = np.zeros(x.shape, bool)
        for left, top in xy:
            out |= (
                (x >= left - by * 400) & (x < left + 400 + by * 400)
                & (y >= top - by * 320) & (y < top + 320 + by * 320)
            )  # fmt: skip
        return out

    got = np.isfinite(at(cells, x, y))
    assert not (got & ~covered(0.126)).any()
    assert not (covered(-0.126) & ~got).any()


def test_nothing_and_one_and_too_many(monkeypatch: pytest.MonkeyPatch):
    none = cells_of(np.zeros((0, 2), np.int32), Size(9, 8), np.zeros(0, np.float32))
    assert np.isnan(none.values).all()
    one = cells_of(np.int32([[7, 5]]), Size(9, 8), np.float32([0.5]))
    assert (one.start_l0, one.step_l0, one.values.tolist()) == ((7, 5), (9, 8), [[0.5]])
    monkeypatch.setattr(module, "MOST_CELLS", 100)
    far = cells_of(np.int32([[0, 0], [90000, 70001]]), Size(9, 8), np.float32([0.2, 0.4]))
    assert far.values.size <= 100
    assert np.nanmax(far.values) == np.float32(0.4)
