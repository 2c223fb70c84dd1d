"""Areas under the ROC and the precision-recall curve, on many resamples of patients at once.

What is scored is ranked once. A resample only changes how often each patient counts, so it is one
more walk down the same ranking: no resampled set is formed, and memory does not grow with the
resamples. Sums of draws are whole numbers and exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsikit.compiled import compiled
from wsikit.training.metrics.bootstrap import Floats, Ints

TOGETHER = 128
"""Resamples that walk together: enough to add several at once, few enough for the cache."""


class Ranking(NamedTuple):
    """Slides, or patches, of two kinds, sorted by falling score.

    Attributes:
        owner: (N,) int64 in 0..patients-1, whose each is.
        positive: (N,) bool.
        last: (N,) bool, the last of those with the same score.
    """

    owner: Ints
    positive: NDArray[np.bool_]
    last: NDArray[np.bool_]

    @classmethod
    def of(cls, positive: NDArray[np.bool_], scores: Floats, owner: Ints) -> Ranking:
        """Rank finite scores (N,), higher for positive."""
        order = np.argsort(-scores, kind="stable")
        ordered = scores[order]
        last = np.ones(len(order), bool)
        np.not_equal(ordered[1:], ordered[:-1], out=last[:-1])
        return cls(owner[order], positive[order], last)


class Areas(NamedTuple):
    """Areas of B resamples, each (B,) float64, NaN on a resample with one kind only.

    Attributes:
        roc: under the ROC curve: pairs in the right order, ties half (Mann and Whitney 1947).
        precision: average precision: precision times the gain in recall at each distinct score,
            without interpolation.
    """

    roc: Floats
    precision: Floats


def areas(ranking: Ranking, draws: Floats) -> Areas:
    """Measure a ranking on resamples.

    Args:
        ranking: what is measured.
        draws: (B, patients) float64, how often each patient was drawn; whole numbers.
    """
    found = Areas(np.full(len(draws), np.nan), np.full(len(draws), np.nan))
    for start in range(0, len(draws), TOGETHER):
        some = slice(start, start + TOGETHER)
        _walk(*ranking, np.ascontiguousarray(draws[some].T), found.roc[some], found.precision[some])
    return found


@compiled
def _walk(
    owner: Ints,
    positive: NDArray[np.bool_],
    last: NDArray[np.bool_],
    draws: Floats,
    roc: Floats,
    precision: Floats,
) -> None:
    """Fill in both areas of some resamples, of which `draws` (patients, B) holds a column each."""
    count = draws.shape[1]
    # Above the present score, and at it: positives and negatives that were drawn.
    above, below = np.zeros(count), np.zeros(count)
    equal, other = np.zeros(count), np.zeros(count)
    won, gained = np.zeros(count), np.zeros(count)
    for i in range(len(owner)):
        weights = draws[owner[i]]
        if positive[i]:
            for b in range(count):
                equal[b] += weights[b]
        else:
            for b in range(count):
                other[b] += weights[b]
        if last[i]:
            for b in range(count):
                won[b] += other[b] * (above[b] + 0.5 * equal[b])
                above[b] += equal[b]
                below[b] += other[b]
                # Where none was drawn yet, no recall is gained: any precision will do.
                gained[b] += equal[b] * (above[b] / max(above[b] + below[b], 1.0))
                equal[b] = other[b] = 0.0
    for b in range(count):
        if above[b] > 0 and below[b] > 0:
            roc[b] = won[b] / (above[b] * below[b])
            precision[b] = gained[b] / above[b]
