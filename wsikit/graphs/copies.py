"""Set aside the many copies of one patch, which no search needs to see."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from wsikit.graphs.edges import Int64Array
from wsikit.types import FloatArray


class Copies(NamedTuple):
    """Which patches are the first few with their feature, and which come after them.

    Attributes:
        kept: (M,) int64, sorted; the first k + 1 of each feature.
        dropped: (N - M,) int64, sorted; the others.
        nearest: (N - M, k) int64, the k nearest patches of each that was dropped: the first k with
            its own feature, at distance 0.
    """

    kept: Int64Array
    dropped: Int64Array
    nearest: Int64Array


def set_copies_aside(features: FloatArray, k: int) -> Copies:
    """Part patches into those that a search for k neighbours must see, and further copies.

    Where of equal distances the lower patch number comes first, nobody is joined to more than the
    first k + 1 copies of a patch, one of which may be itself. A list full of copies would cost the
    square of their number.

    Args:
        features: (N, D) float32.
        k: neighbours of each.
    """
    first: dict[bytes, list[int]] = {}
    kept, dropped, nearest = [], [], []
    for number, feature in enumerate(features):
        alike = first.setdefault(blake2b(feature + np.float32(0), digest_size=16).digest(), [])
        if len(alike) <= k:
            alike.append(number)
            kept.append(number)
        else:
            dropped.append(number)
            nearest.append(alike[:k])
    return Copies(
        np.array(kept, np.int64),
        np.array(dropped, np.int64),
        np.array(nearest, np.int64).reshape(-1, k),
    )
