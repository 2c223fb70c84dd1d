"""Edges as arrays: put in order, each once, one way or both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Int64Array = NDArray[np.int64]


def sorted_edges(source: Int64Array, target: Int64Array, count: int) -> Int64Array:
    """Return each edge once, sorted by (source, target).

    Args:
        source: (P,) int64, patch numbers below `count`.
        target: (P,) int64, likewise; never the source itself.
        count: number of patches.

    Returns:
        edge_index, (2, E) int64.
    """
    keys = np.sort(source * count + target)
    keys = keys[np.diff(keys, prepend=-1) > 0]
    return np.stack([keys // max(1, count), keys % max(1, count)])


def both_ways(edges: Int64Array, count: int) -> Int64Array:
    """Return the edges and their reverses, each once, in order; `edges` is (2, P) int64."""
    source, target = np.concatenate([edges, edges[::-1]], axis=1)
    return sorted_edges(source, target, count)
