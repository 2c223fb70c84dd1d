"""Join patches that look alike: the k-nearest-neighbour graph in feature space."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wsikit.errors import ConfigError
from wsikit.graphs.checks import check_finite
from wsikit.graphs.distances import edge_distances
from wsikit.graphs.edges import Int64Array, both_ways, sorted_edges
from wsikit.graphs.search import Search, find_neighbours
from wsikit.types import FloatArray


class KnnEdges(NamedTuple):
    """Who is joined to whom.

    Attributes:
        edge_index: (2, E) int64, source and target, sorted by (source, target).
        recall: see `search.Neighbours`.
    """

    edge_index: Int64Array
    recall: float | None


def knn_graph(
    features: FloatArray, k: int, *, symmetrise: bool = True, search: Search | None = None
) -> tuple[Int64Array, FloatArray]:
    """Join every patch to the k others nearest in feature space.

    The answer does not hang on rounding or threads. Of equal distances the lower patch number comes
    first. A patch is never joined to itself, and to an exact duplicate like to any other patch.

    Args:
        features: (N, D) float32.
        k: neighbours of each patch, at least 1. With N <= k, each patch is joined to all others.
        symmetrise: join in both directions, so that a patch may have more than k neighbours.
            Otherwise an edge runs from a neighbour to the patch whose neighbour it is: a
            convolution then gathers exactly each patch's own k.
        search: how to look for neighbours; default exactly up to 30,000 patches.

    Returns:
        edge_index, (2, E) int64, source and target, sorted by (source, target); and the Euclidean
        distance of each edge's ends, (E,) float32. E is 0 for a single patch.

    Raises:
        ConfigError: k is less than 1.
        WsikitError: a feature is not finite.

    Example:
        >>> import numpy as np
        >>> knn_graph(np.array([[0.0], [1.0], [5.0]]), 1)[0].tolist()
        [[0, 1, 1, 2], [1, 0, 2, 1]]
    """
    features = check_finite(features)
    edges = knn_edges(features, k, symmetrise, search or Search()).edge_index
    return edges, edge_distances(features, edges)


def knn_edges(features: FloatArray, k: int, symmetrise: bool, search: Search) -> KnnEdges:
    """Return the edges of `knn_graph`, and the recall where the search was not exact.

    Args:
        features: (N, D) float32, finite.
        k: see `knn_graph`.
        symmetrise: see `knn_graph`.
        search: how to look for neighbours.
    """
    if k < 1:
        raise ConfigError(f"graph.k is {k}", "give at least 1")
    count = len(features)
    if count < 2:
        return KnnEdges(np.empty((2, 0), np.int64), None)
    nearest, recall = find_neighbours(features, min(k, count - 1), search)
    target = np.repeat(np.arange(count), nearest.shape[1])
    if symmetrise:
        return KnnEdges(both_ways(np.stack([nearest.ravel(), target]), count), recall)
    return KnnEdges(sorted_edges(nearest.ravel(), target, count), recall)
