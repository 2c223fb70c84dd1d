from __future__ import annotations

import numpy as np
import pytest

from wsikit.errors import ConfigError, WsikitError
from wsikit.graphs.knn import knn_graph


def by_brute_force(features: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    count = len(features)
    wide = features.astype(np.float64)
    distance = np.sqrt(((wide[:, None] - wide[None]) ** 2).sum(2))
    edges = set()
    for i in range(count):
        others = [j for j in np.argsort(distance[i], kind="stable") if j != i]
        for j in others[:k]:
            edges |= {(i, int(j)), (int(j), i)}
    index = np.array(sorted(edges), np.int64).reshape(-1, 2).T
    return index, distance[index[0], index[1]]


def features_of(kind: str) -> np.ndarray:
    generator = np.random.default_rng(5)
    made = {
        "normal": generator.normal(size=(300, 16)),
        "far from the origin": generator.normal(size=(300, 16)) + 3000,
        "full of ties": generator.integers(0, 3, (300, 3)),
        "each patch 50 times": np.repeat(generator.normal(size=(6, 8)), 50, axis=0),
        "all the same": np.zeros((100, 4)),
        "heavy tailed": generator.standard_cauchy((200, 5)),
        "squares below float32": generator.normal(size=(200, 16)) * 1e-25,
        "squares beyond float32": generator.normal(size=(200, 16)) * 1e25,
        "fewer than k": generator.normal(size=(5, 3)),
        "two": generator.normal(size=(2, 3)),
    }
    return made[kind].astype(np.float32)


@pytest.mark.parametrize(
    "kind",
    [
        "normal",
        "far from the origin",
        "full of ties",
        "each patch 50 times",
        "all the same",
        "heavy tailed",
        "squares below float32",
        "squares beyond float32",
        "fewer than k",
        "two",
    ],
)
@pytest.mark.parametrize("k", [1, 8])
def test_against_brute_force(kind: str, k: int) -> None:
    features = features_of(kind)
    edges, distance = knn_graph(features, k)
    expected_edges, expected_distance = by_brute_force(features, k)
    np.testing.assert_array_equal(edges, expected_edges)
    np.testing.assert_allclose(distance, expected_distance, rtol=1e-6)
    assert edges.dtype == np.int64
    assert distance.dtype == np.float32


def test_undirected_without_loops_and_in_order() -> None:
    edges, distance = knn_graph(features_of("full of ties"), 8)
    table = {(a, b): d for a, b, d in zip(*edges, distance, strict=True)}
    assert all(table[b, a] == d and a != b for (a, b), d in table.items())
    assert list(table) == sorted(table)
    assert np.bincount(edges[0]).min() >= 8


def test_more_patches_than_a_block_of_faiss() -> None:
    features = np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float32) + 50
    edges, distance = knn_graph(features, 4)
    again, _ = knn_graph(features, 4)
    np.testing.assert_array_equal(edges, again)
    for i in (0, 1500, 2999):
        direct = np.sqrt(((features.astype(np.float64) - features[i]) ** 2).sum(1))
        nearest = np.argsort(direct, kind="stable")[1:5]
        assert set(nearest) <= set(edges[1][edges[0] == i])
        found = distance[(edges[0] == i) & np.isin(edges[1], nearest)]
        np.testing.assert_allclose(np.sort(found), np.sort(direct[nearest]), rtol=1e-5)


@pytest.mark.parametrize("count", [0, 1])
def test_no_pair_no_edge(count: int) -> None:
    edges, distance = knn_graph(np.ones((count, 4), np.float32), 8)
    assert edges.shape == (2, 0)
    assert distance.shape == (0,)


def test_half_precision_is_read() -> None:
    features = features_of("normal").astype(np.float16)
    edges, _ = knn_graph(features, 3)
    np.testing.assert_array_equal(edges, by_brute_force(features, 3)[0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(value: float) -> None:
    features = features_of("normal")
    features[[7, 90], 3] = value
    with pytest.raises(WsikitError, match=r"2 of 300 patches.*patch 7"):
        knn_graph(features, 8)


@pytest.mark.parametrize("k", [0, -1])
def test_k_is_at_least_one(k: int) -> None:
    with pytest.raises(ConfigError, match=r"graph\.k"):
        knn_graph(features_of("normal"), k)
