"""Find each patch's nearest patches by comparing it with all."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from wsikit.graphs.distances import closest, distances
from wsikit.graphs.edges import Int64Array
from wsikit.types import FloatArray

SPARE = 8
"""Neighbours asked for beyond k: FAISS rounds distances, and near ties may change places."""

ROUNDING = 1e-5
"""Error of FAISS's squared distance as a share of the squared lengths it is the difference of."""


def exact_neighbours(features: FloatArray, k: int, rows: Int64Array | None = None) -> Int64Array:
    """Return the k nearest others of patches, whatever FAISS rounds and on however many threads.

    FAISS (exact L2) proposes a few more than k, distances are then taken directly, and of equal
    ones the lower patch number comes first. Where equal distances reach past what FAISS proposed
    (many identical patches), the patch is compared with all.

    Args:
        features: (N, D) float32, finite.
        k: neighbours of each, 1 to N - 1.
        rows: (R,) int64, the patches asked for; default all.

    Returns:
        (R, k) int64, nearest first.
    """
    count = len(features)
    centred = centre(features)
    asked = np.arange(count) if rows is None else rows
    queries = centred if rows is None else centred[rows]
    proposed = faiss.knn(queries, centred, min(k + 1 + SPARE, count))[1]  # itself usually among
    nearest, distance = closest(features, asked, proposed, k)
    if proposed.shape[1] < count:
        kth = distances(features, asked, nearest[:, -1])
        last = distance.max(axis=1)
        length = np.sqrt(np.einsum("ij,ij->i", queries, queries))
        lost = features.shape[1] * np.finfo(np.float32).tiny  # smaller squares are zero to FAISS
        slack = ROUNDING * (length + last) ** 2 + lost
        unsure = np.flatnonzero(kth**2 >= last**2 - slack)
        nearest[unsure] = compared_with_all(features, asked[unsure], k)
    return nearest


def centre(features: FloatArray) -> FloatArray:
    """Return the features less their mean, (N, D) float32.

    FAISS expands |a - b|^2: a common mean, which distances do not see, would eat the digits.
    """
    mean: NDArray[np.float64] = features.mean(axis=0, dtype=np.float64)
    centred = np.empty_like(features)
    np.subtract(features, mean, out=centred, casting="same_kind")  # no copy in double precision
    return centred


def compared_with_all(features: FloatArray, rows: Int64Array, k: int) -> Int64Array:
    """Return the k nearest others of some patches, (R, k); identical patches are compared once."""
    nearest = np.empty((len(rows), k), np.int64)
    everyone = np.arange(len(features))
    distinct, member = np.unique(features[rows], axis=0, return_inverse=True)
    for number in range(len(distinct)):
        alike = np.flatnonzero(member.ravel() == number)
        one = np.full_like(everyone, rows[alike[0]])
        order = np.argsort(distances(features, one, everyone), kind="stable")
        for row in alike:
            nearest[row] = order[order != rows[row]][:k]
    return nearest
