"""Build the graph of one slide: alike patches, neighbouring patches, or both."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from wsikit.errors import UsageError
from wsikit.graphs.checks import check_finite
from wsikit.graphs.distances import edge_distances
from wsikit.graphs.edges import Int64Array, sorted_edges
from wsikit.graphs.knn import KnnEdges, knn_edges
from wsikit.graphs.search import Search
from wsikit.graphs.spatial import spatial_edges
from wsikit.registry import Registry
from wsikit.types import FloatArray

Kind = Callable[[FloatArray, Int64Array, int, bool, Search], KnnEdges]
"""Takes features, rowcol, k, symmetrise and search."""

GRAPHS: Registry[Kind] = Registry("graph")


class Graph(NamedTuple):
    """The graph of one slide.

    Attributes:
        edge_index: (2, E) int64, source and target, sorted by (source, target), each edge once, no
            patch to itself.
        distance: (E,) float32, the Euclidean distance of the ends' features, whatever the kind.
        recall: the share of true nearest neighbours found, measured on a sample; None where none
            was sought or the search was exact.
    """

    edge_index: Int64Array
    distance: FloatArray
    recall: float | None


def build_graph(
    kind: str,
    features: FloatArray,
    rowcol: Int64Array,
    k: int = 8,
    *,
    symmetrise: bool = True,
    search: Search | None = None,
) -> Graph:
    """Build the graph of one slide.

    Args:
        kind: `knn`, the k nearest in feature space; `spatial`, the 8 neighbours on the patch grid;
            `hybrid`, the edges of both.
        features: (N, D) float32.
        rowcol: (N, 2) int64, row and column in the slide's grid.
        k: nearest patches each is joined to; `spatial` does without.
        symmetrise: join nearest patches in both directions; neighbours on the grid always are.
        search: how to look for nearest patches.

    Raises:
        ConfigError: there is no such kind, or k is less than 1.
        UsageError: features and places are not as many.
        WsikitError: a feature is not finite, or two patches lie at one place.
    """
    edges_of = GRAPHS[kind]
    features = check_finite(features)
    if len(features) != len(rowcol):
        raise UsageError(f"{len(features)} features for {len(rowcol)} places of patches")
    edges, recall = edges_of(features, rowcol, k, symmetrise, search or Search())
    return Graph(edges, edge_distances(features, edges), recall)


@GRAPHS.register("knn")
def _knn(
    features: FloatArray, rowcol: Int64Array, k: int, symmetrise: bool, search: Search
) -> KnnEdges:
    return knn_edges(features, k, symmetrise, search)


@GRAPHS.register("spatial")
def _spatial(
    features: FloatArray, rowcol: Int64Array, k: int, symmetrise: bool, search: Search
) -> KnnEdges:
    return KnnEdges(spatial_edges(rowcol), None)


@GRAPHS.register("hybrid")
def _hybrid(
    features: FloatArray, rowcol: Int64Array, k: int, symmetrise: bool, search: Search
) -> KnnEdges:
    alike, recall = knn_edges(features, k, symmetrise, search)
    source, target = np.concatenate([alike, spatial_edges(rowcol)], axis=1)
    return KnnEdges(sorted_edges(source, target, len(features)), recall)
