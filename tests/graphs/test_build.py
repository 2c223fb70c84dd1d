"""What holds for the graph of every kind."""

from __future__ import annotations

import numpy as np
import pytest

from tests.graphs.feature_sets import encoder_like
from wsikit.errors import ConfigError, UsageError, WsikitError
from wsikit.graphs.build import GRAPHS, build_graph
from wsikit.graphs.knn import knn_graph
from wsikit.graphs.search import Search
from wsikit.graphs.spatial import spatial_edges

KINDS = ("knn", "spatial", "hybrid")


def slide(count: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """Return features, some of them alike, and places on a 12-column grid."""
    features = encoder_like(count, 16)
    features[count // 2 : count // 2 + 20] = features[0]
    number = np.random.default_rng(1).permutation(2 * count)[:count]
    return features, np.stack([number // 12, number % 12], axis=1)


def test_these_are_all() -> None:
    assert set(GRAPHS) == set(KINDS)


@pytest.mark.parametrize("symmetrise", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [150, 8, 2, 1, 0])
def test_sorted_once_without_loops_with_the_ends_distance(
    kind: str, symmetrise: bool, count: int
) -> None:
    features, rowcol = slide(150)
    features, rowcol = features[:count], rowcol[:count]
    edges, distance, recall = build_graph(kind, features, rowcol, 8, symmetrise=symmetrise)
    pairs = list(zip(*edges.tolist(), strict=True))
    assert (edges.shape, edges.dtype) == ((2, len(pairs)), np.int64)
    assert (distance.shape, distance.dtype, recall) == ((len(pairs),), np.float32, None)
    assert pairs == sorted(set(pairs))
    assert all(a != b for a, b in pairs)
    direct = np.linalg.norm(features[edges[0]].astype(float) - features[edges[1]], axis=1)
    np.testing.assert_allclose(distance, direct, rtol=1e-6)
    if symmetrise or kind == "spatial":
        assert {(b, a) for a, b in pairs} == set(pairs)
        along = dict(zip(pairs, distance.tolist(), strict=True))
        assert all(along[b, a] == d for (a, b), d in along.items())


@pytest.mark.parametrize("symmetrise", [True, False])
def test_hybrid_is_the_union(symmetrise: bool) -> None:
    features, rowcol = slide()
    made = {
        kind: set(
            zip(
                *build_graph(kind, features, rowcol, 5, symmetrise=symmetrise)[0].tolist(),
                strict=True,
            )
        )
        for kind in KINDS
    }
    assert made["hybrid"] == made["knn"] | made["spatial"]
    assert len(made["hybrid"]) > max(len(made["knn"]), len(made["spatial"]))


def test_each_kind_is_what_its_own_function_gives() -> None:
    features, rowcol = slide()
    edges, distance = knn_graph(features, 5)
    found = build_graph("knn", features, rowcol, 5)
    np.testing.assert_array_equal(found.edge_index, edges)
    np.testing.assert_array_equal(found.distance, distance)
    found = build_graph("spatial", features, rowcol)
    np.testing.assert_array_equal(found.edge_index, spatial_edges(rowcol))


def test_the_recall_of_a_search_that_is_not_exact_is_told() -> None:
    features = encoder_like(2000)
    number = np.arange(2000)
    rowcol = np.stack([number // 50, number % 50], axis=1)
    for kind in ("knn", "hybrid"):
        assert 0.98 <= (build_graph(kind, features, rowcol, search=Search(1000)).recall or 0) <= 1
    assert build_graph("spatial", features, rowcol, search=Search(1000)).recall is None


def test_what_does_not_fit_is_one_line() -> None:
    features, rowcol = slide()
    with pytest.raises(ConfigError, match=r"'knnn'.*did you mean 'knn'"):
        build_graph("knnn", features, rowcol)
    with pytest.raises(UsageError, match="150 features for 149 places"):
        build_graph("spatial", features, rowcol[1:])
    with pytest.raises(WsikitError, match=r"shape \(150,\)"):
        build_graph("spatial", features[:, 0], rowcol)
    features[3, 3] = np.nan
    for kind in KINDS:
        with pytest.raises(WsikitError, match=r"1 of 150 .*patch 3"):
            build_graph(kind, features, rowcol)
