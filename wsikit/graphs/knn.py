"""Join patches that look alike: the k-nearest-neighbour graph in feature space."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from wsikit.errors import ConfigError, WsikitError
from wsikit.types import FloatArray

Int64Array = NDArray[np.int64]

SPARE = 8
"""Neighbours asked for beyond k: FAISS rounds distances, and near ties may change places."""

ROUNDING = 1e-5
"""Error of FAISS's squared distance as a share of the squared lengths it is the difference of."""

BLOCK_VALUES = 2**22
"""Feature values compared at a time, so that memory stays bounded."""


def knn_graph(features: FloatArray, k: int) -> tuple[Int64Array, FloatArray]:
    """Join every patch to the k others nearest in feature space, in both directions.

    The search is exact (FAISS `IndexFlatL2`) and its answer does not hang on rounding or threads:
    FAISS proposes a few more than k, distances are then taken directly, and of equal ones the lower
    patch number comes first. Where equal distances reach past what FAISS proposed (many identical
    patches), the patch is compared with all. A patch is never joined to itself, and to an exact
    duplicate like to any other patch. As edges are the union of both directions, a patch may have
    more than k neighbours.

    Args:
        features: (N, D) float32.
        k: neighbours of each patch, at least 1. With N <= k, each patch is joined to all others.

    Returns:
        edge_index, (2, E) int64, source and target, sorted by (source, target); and the Euclidean
        distance of each edge's ends, (E,) float32. E is 0 for a single patch.

    Raises:
        ConfigError: k is less than 1.
        WsikitError: a feature is not finite.
    """
    if k < 1:
        raise ConfigError(f"graph.k is {k}", "give at least 1")
    features = np.ascontiguousarray(features, np.float32)
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise WsikitError(
            f"{len(bad)} of {len(features)} patches have features that are not finite "
            f"(the first is patch {bad[0]})",
            "extract the slide's features again",
        )
    count = len(features)
    if count < 2:
        return np.empty((2, 0), np.int64), np.empty(0, np.float32)
    pairs = _pairs(_neighbours(features, min(k, count - 1)))
    distance = _distances(features, pairs[0], pairs[1]).astype(np.float32)
    edges = np.concatenate([pairs, pairs[::-1]], axis=1)
    order = np.lexsort((edges[1], edges[0]))
    return edges[:, order], np.tile(distance, 2)[order]


def _neighbours(features: FloatArray, k: int) -> Int64Array:
    """Return each patch's k nearest others, (N, k), nearest first, k < N."""
    count = len(features)
    mean = features.mean(axis=0, dtype=np.float64)
    # FAISS expands |a - b|^2: a common mean, which distances do not see, would eat the digits.
    centred = np.ascontiguousarray(features - mean, np.float32)
    proposed = _search(centred, min(k + 1 + SPARE, count))  # (N, C), itself usually among them
    own = np.repeat(np.arange(count), proposed.shape[1])
    distance = _distances(features, own, proposed.ravel()).reshape(proposed.shape)
    itself = proposed == np.arange(count)[:, None]
    order = np.lexsort((proposed, np.where(itself, np.inf, distance)))[:, :k]
    nearest = np.take_along_axis(proposed, order, axis=1)
    if proposed.shape[1] < count:
        kth = np.take_along_axis(distance, order[:, -1:], axis=1)[:, 0]
        last = distance.max(axis=1)
        slack = ROUNDING * (np.linalg.norm(centred, axis=1) + last) ** 2
        unsure = np.flatnonzero(kth**2 >= last**2 - slack)
        nearest[unsure] = _compared_with_all(features, unsure, k)
    return nearest


def _search(vectors: FloatArray, wanted: int) -> Int64Array:
    """Return the numbers of the `wanted` nearest of each vector, (N, wanted)."""
    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors)
    numbers: Int64Array = index.search(vectors, wanted)[1]
    return numbers


def _compared_with_all(features: FloatArray, rows: Int64Array, k: int) -> Int64Array:
    """Return the k nearest others of some patches, (R, k); identical patches are compared once."""
    nearest = np.empty((len(rows), k), np.int64)
    everyone = np.arange(len(features))
    distinct, member = np.unique(features[rows], axis=0, return_inverse=True)
    for number in range(len(distinct)):
        alike = np.flatnonzero(member.ravel() == number)
        one = np.full_like(everyone, rows[alike[0]])
        order = np.argsort(_distances(features, one, everyone), kind="stable")
        for row in alike:
            nearest[row] = order[order != rows[row]][:k]
    return nearest


def _pairs(nearest: Int64Array) -> Int64Array:
    """Return each joined pair once, (2, P), the lower number first."""
    count, k = nearest.shape
    own, other = np.repeat(np.arange(count), k), nearest.ravel()
    key = np.unique(np.minimum(own, other) * count + np.maximum(own, other))
    return np.stack([key // count, key % count])


def _distances(features: FloatArray, a: Int64Array, b: Int64Array) -> NDArray[np.float64]:
    """Return the Euclidean distances of patches `a[i]` and `b[i]`, taken directly, (P,) float64."""
    distance = np.empty(len(a), np.float64)
    step = max(1, BLOCK_VALUES // features.shape[1])
    for start in range(0, len(a), step):
        block = slice(start, start + step)
        apart = np.subtract(features[a[block]], features[b[block]], dtype=np.float64)
        distance[block] = np.sqrt(np.square(apart, out=apart).sum(axis=1))
    return distance
