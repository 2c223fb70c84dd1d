"""How far apart patches are in feature space, taken directly and in double precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsikit.graphs.edges import Int64Array
from wsikit.types import FloatArray

BLOCK_VALUES = 2**15
"""Feature values compared at a time, so that they stay in the processor's cache."""


def distances(features: FloatArray, a: Int64Array, b: Int64Array) -> NDArray[np.float64]:
    """Return the Euclidean distances of patches `a[i]` and `b[i]`.

    Each is a sum of its own, in a fixed order: the same to the bit both ways round, whatever is
    computed beside it and on however many threads.

    Args:
        features: (N, D) float32.
        a: (P,) int64, patch numbers.
        b: (P,) int64, patch numbers.

    Returns:
        (P,) float64.
    """
    distance = np.empty(len(a), np.float64)
    step = max(1, BLOCK_VALUES // max(1, features.shape[1]))
    for start in range(0, len(a), step):
        block = slice(start, start + step)
        apart = np.subtract(features[a[block]], features[b[block]], dtype=np.float64)
        distance[block] = np.sqrt(np.square(apart, out=apart).sum(axis=1))
    return distance


def edge_distances(features: FloatArray, edges: Int64Array) -> FloatArray:
    """Return the Euclidean distance of each edge's ends; both directions cost no more than one.

    Args:
        features: (N, D) float32.
        edges: (2, E) int64.

    Returns:
        (E,) float32.
    """
    low, high = np.sort(edges, axis=0)
    keys, place = np.unique(low * len(features) + high, return_inverse=True)
    distance = distances(features, keys // len(features), keys % len(features))
    return distance.astype(np.float32)[place]


def closest(
    features: FloatArray, rows: Int64Array, proposed: Int64Array, k: int
) -> tuple[Int64Array, NDArray[np.float64]]:
    """Choose each patch's k nearest among those proposed for it.

    Of equal distances the lower patch number comes first. A patch proposed to itself comes last,
    at an infinite distance.

    Args:
        features: (N, D) float32.
        rows: (R,) int64, the patches.
        proposed: (R, C) int64, patch numbers, C >= k.
        k: how many to choose.

    Returns:
        Their numbers, (R, k) int64, nearest first; and the distances of all proposed, (R, C)
        float64, in the order given and with the patch itself at its true distance, zero.
    """
    own = np.repeat(rows, proposed.shape[1])
    distance = distances(features, own, proposed.ravel()).reshape(proposed.shape)
    itself = proposed == rows[:, None]
    order = np.lexsort((proposed, np.where(itself, np.inf, distance)))[:, :k]
    return np.take_along_axis(proposed, order, axis=1), distance
