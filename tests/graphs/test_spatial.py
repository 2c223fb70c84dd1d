"""The 8 neighbours on the grid, against a walk over the grid and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import radius_neighbors_graph

from wsikit.errors import WsikitError
from wsikit.graphs.spatial import spatial_edges


def by_walking(rowcol: np.ndarray) -> np.ndarray:
    """Look at all 8 places around each patch."""
    number = {tuple(place): i for i, place in enumerate(rowcol.tolist())}
    edges = [
        (i, number[row + down, col + right])
        for (row, col), i in number.items()
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
        if (down, right) != (0, 0) and (row + down, col + right) in number
    ]
    return np.array(sorted(edges), np.int64).reshape(-1, 2).T


def places(rows: int, cols: int, share: float, seed: int = 0) -> np.ndarray:
    """Return some places of a grid in no order, far from its corner."""
    rng = np.random.default_rng(seed)
    taken = np.argwhere(rng.random((rows, cols)) < share)
    return rng.permutation(taken) + np.array([40, 7])


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
@pytest.mark.parametrize(("rows", "cols"), [(30, 17), (1, 40), (40, 1), (2, 2)])
def test_against_a_walk_and_scikit_learn(rows: int, cols: int, share: float) -> None:
    rowcol = places(rows, cols, share)
    edges = spatial_edges(rowcol)
    np.testing.assert_array_equal(edges, by_walking(rowcol))
    assert edges.dtype == np.int64
    if len(rowcol):
        graph = radius_neighbors_graph(rowcol, 1, metric="chebyshev").tocoo()
        expected = sorted(zip(graph.row.tolist(), graph.col.tolist(), strict=True))
        assert list(zip(*edges.tolist(), strict=True)) == expected


def test_a_full_grid_has_eight_neighbours_inside_and_three_in_a_corner() -> None:
    rowcol = places(9, 12, 1.0)
    degree = np.bincount(spatial_edges(rowcol)[0])
    assert sorted(set(degree.tolist())) == [3, 5, 8]
    assert (degree == 8).sum() == 7 * 10


def test_the_end_of_a_row_does_not_touch_the_next() -> None:
    edges = spatial_edges(np.array([[0, 9], [1, 0], [2, 9], [1, 5]]))
    assert edges.shape == (2, 0)


@pytest.mark.parametrize("count", [0, 1])
def test_no_pair_no_edge(count: int) -> None:
    assert spatial_edges(np.zeros((count, 2), np.int64)).shape == (2, 0)


def test_two_patches_at_one_place_are_refused() -> None:
    with pytest.raises(WsikitError, match=r"patches 1 and 3 .*row 4, column 2.*kind knn"):
        spatial_edges(np.array([[4, 1], [4, 2], [5, 1], [4, 2]]))
