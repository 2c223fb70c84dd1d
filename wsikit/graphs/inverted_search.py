"""Find each patch's nearest patches in inverted lists, with the recall measured on the spot.

Features are turned to their main directions, grouped into lists by k-means, and each patch is
compared with the patches of the lists nearest to it (FAISS `IndexIVFFlat`); those proposed are
ranked by their true distances. How many directions and how many lists it takes hangs on the
features, so it is not guessed: a fixed sample of patches is also searched exactly, and the first
setting that finds enough of their true neighbours is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from wsikit.graphs.distances import closest, distances
from wsikit.graphs.edges import Int64Array
from wsikit.graphs.exact_search import centre, exact_neighbours
from wsikit.types import FloatArray

SAMPLE = 1000
"""Patches whose true neighbours are found, to measure recall."""

SURE = 2.0
"""Standard errors by which the sample's mean recall must exceed what is asked for."""

WIDTHS = (64, 128, 256)
"""Directions kept, tried in turn; fewer cost less and blur distances more."""

FIRST_PROBES = 4
"""Lists each patch is compared with at first; half as many again while recall is too low."""

SPARE = 16
"""Neighbours proposed beyond 2 k, since distances along the main directions are too short."""

SCAN_COST = 8
"""Time of a comparison in a list over one in an exact search (a matrix product), per number."""

FEWEST = 1000
"""Patches below which lists are not worth their k-means, nor directions well known."""

SEED = 1
TRAINED_ON = 64
"""Patches a list that k-means sees."""


@dataclass(frozen=True)
class Recall:
    """What share of the true neighbours a search finds, in the mean over sampled patches.

    Attributes:
        mean: 0..1.
        error: standard error of the mean.
    """

    mean: float
    error: float

    def reaches(self, least: float) -> bool:
        """Tell whether the recall is at least `least`, beyond the chance of the sample."""
        return self.mean - SURE * self.error >= least


class InvertedLists:
    """Group vectors into lists of near ones.

    All that goes through FAISS's matrix products is done on one thread: they round differently on
    several, and a patch between two lists would change sides. Lists are then read by all threads,
    each patch by one of them.

    Args:
        vectors: (N, D) float32, centred.
        width: main directions kept, at most D.
    """

    def __init__(self, vectors: FloatArray, width: int) -> None:
        count, self.width = len(vectors), width
        self.lists = max(1, min(4 * isqrt(count), count // TRAINED_ON))
        with _one_thread():
            self.reduced = _main_directions(vectors, width)
            self._index: Any = faiss.IndexIVFFlat(faiss.IndexFlatL2(width), width, self.lists)
            self._index.cp.seed = SEED
            self._index.cp.max_points_per_centroid = TRAINED_ON
            self._index.train(self.reduced)
            self._index.add(self.reduced)

    def propose(self, rows: Int64Array, wanted: int, probes: int) -> Int64Array:
        """Return the numbers of the nearest patches found in the `probes` nearest lists.

        Args:
            rows: (R,) int64, the patches asked for.
            wanted: how many.
            probes: lists looked into, at most `lists`.

        Returns:
            (R, wanted) int64; the patch itself where the lists hold no more.
        """
        queries = self.reduced[rows]
        with _one_thread():
            gaps, lists = self._index.quantizer.search(queries, probes)
        self._index.nprobe = probes
        numbers: Int64Array = self._index.search_preassigned(queries, wanted, lists, gaps)[1]
        return np.where(numbers < 0, rows[:, None], numbers)

    def propose_from_all(self, rows: Int64Array, wanted: int) -> Int64Array:
        """Return what `propose` would find in all lists; quicker than looking into each."""
        with _one_thread():
            numbers: Int64Array = faiss.knn(self.reduced[rows], self.reduced, wanted)[1]
        return numbers


class SampledTruth:
    """The true neighbours of a fixed sample of patches.

    Args:
        features: (N, D) float32.
        k: neighbours.
    """

    def __init__(self, features: FloatArray, k: int) -> None:
        count = len(features)
        sample = np.random.default_rng(SEED).choice(count, min(SAMPLE, count), replace=False)
        self.rows: Int64Array = np.sort(sample)
        nearest = exact_neighbours(features, k, self.rows)
        self._features, self._k = features, k
        self._reach = distances(features, self.rows, nearest[:, -1])  # to the k-th neighbour

    def recall(self, proposed: Int64Array) -> Recall:
        """Measure a search by what it proposes to the sampled patches, (R, C) int64.

        A patch as near as the true k-th neighbour is as good as it.
        """
        nearest, _ = closest(self._features, self.rows, proposed, self._k)
        own = np.repeat(self.rows, self._k)
        found = distances(self._features, own, nearest.ravel()).reshape(nearest.shape)
        hit = (found <= self._reach[:, None]) & (nearest != self.rows[:, None])
        shares = hit.mean(axis=1)
        return Recall(float(shares.mean()), float(shares.std() / len(shares) ** 0.5))


def inverted_neighbours(
    features: FloatArray, k: int, min_recall: float
) -> tuple[Int64Array, float] | None:
    """Return the k nearest others of every patch, as far as inverted lists find them.

    The answer is the same on any number of threads.

    Args:
        features: (N, D) float32, finite.
        k: neighbours of each, 1 to N - 1.
        min_recall: least share of true neighbours to find, 0..1.

    Returns:
        (N, k) int64, nearest first, and the recall measured on the sample; None where no setting
        that is quicker than an exact search finds enough, as with features that have no structure,
        and where there are fewer than `FEWEST` patches.
    """
    if len(features) < FEWEST:
        return None
    count, wanted = len(features), min(2 * k + 1 + SPARE, len(features))
    truth = SampledTruth(features, k)
    vectors = centre(features)
    for width in _widths(features.shape[1]):
        lists = InvertedLists(vectors, width)
        if not truth.recall(lists.propose_from_all(truth.rows, wanted)).reaches(min_recall):
            continue
        for probes in _probes(lists, features.shape[1]):
            recall = truth.recall(lists.propose(truth.rows, wanted, probes))
            if recall.reaches(min_recall):
                proposed = lists.propose(np.arange(count), wanted, probes)
                return rank_proposals(features, proposed, k), recall.mean
    return None


def _widths(dimensions: int) -> list[int]:
    narrower = [width for width in WIDTHS if width < dimensions]
    return narrower if dimensions > WIDTHS[-1] else [*narrower, dimensions]


def _probes(lists: InvertedLists, dimensions: int) -> Iterator[int]:
    """Yield numbers of lists to look into, as long as that is quicker than an exact search."""
    probes = min(FIRST_PROBES, lists.lists)
    while probes * lists.width * SCAN_COST <= lists.lists * dimensions:
        yield probes
        probes += max(1, probes // 2)


def rank_proposals(features: FloatArray, proposed: Int64Array, k: int) -> Int64Array:
    """Return each patch's k nearest of those proposed; with too few, of all.

    Args:
        features: (N, D) float32.
        proposed: (N, C) int64, numbers of patches, the patch itself standing for none.
        k: how many, at most C.

    Returns:
        (N, k) int64, nearest first.
    """
    everyone = np.arange(len(features))
    nearest, _ = closest(features, everyone, proposed, k)
    lacking = np.flatnonzero((nearest == everyone[:, None]).any(axis=1))
    if len(lacking):
        nearest[lacking] = exact_neighbours(features, k, lacking)
    return nearest


def _main_directions(vectors: FloatArray, width: int) -> FloatArray:
    """Return vectors along their directions of largest variance, (N, width) float32."""
    if width == vectors.shape[1]:
        return vectors
    turn = faiss.PCAMatrix(vectors.shape[1], width)
    step = max(1, len(vectors) // (20 * vectors.shape[1]))
    turn.train(np.ascontiguousarray(vectors[::step]))
    turned: NDArray[np.float32] = turn.apply(vectors)
    return turned


@contextmanager
def _one_thread() -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
