"""Find each patch's nearest patches: exactly up to a size, beyond it in inverted lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wsikit.graphs.copies import set_copies_aside
from wsikit.graphs.edges import Int64Array
from wsikit.graphs.exact_search import exact_neighbours
from wsikit.graphs.inverted_search import inverted_neighbours
from wsikit.types import FloatArray


@dataclass(frozen=True)
class Search:
    """How to look for neighbours.

    Attributes:
        exact_up_to: patches of a slide up to which each is compared with all.
        min_recall: beyond, the least share of true neighbours to find, 0..1.
    """

    exact_up_to: int = 30_000
    min_recall: float = 0.98


class Neighbours(NamedTuple):
    """Each patch's nearest patches.

    Attributes:
        nearest: (N, k) int64, nearest first.
        recall: the share of true neighbours found, measured on a sample; None if all are.
    """

    nearest: Int64Array
    recall: float | None


def find_neighbours(features: FloatArray, k: int, search: Search) -> Neighbours:
    """Return the k nearest others of every patch.

    Args:
        features: (N, D) float32, finite.
        k: neighbours of each, 1 to N - 1.
        search: how to look for them.
    """
    if len(features) <= search.exact_up_to:
        return Neighbours(exact_neighbours(features, k), None)
    copies = set_copies_aside(features, k)
    distinct = features[copies.kept] if len(copies.dropped) else features
    found = None
    if len(distinct) > search.exact_up_to:
        found = inverted_neighbours(distinct, k, search.min_recall)
    among, recall = found or (exact_neighbours(distinct, k), None)
    nearest = np.empty((len(features), k), np.int64)
    nearest[copies.kept] = copies.kept[among]
    nearest[copies.dropped] = copies.nearest
    return Neighbours(nearest, recall)
