"""Compare the areas under two ROC curves of the same slides: DeLong's test."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata

from wsikit.training.metrics.bootstrap import Floats

Z_95 = 1.959963984540054


class AreaCovariance(NamedTuple):
    """Areas under K correlated ROC curves: `areas` (K,), and their `covariance` (K, K)."""

    areas: Floats
    covariance: Floats


class DeLong(NamedTuple):
    """What the test says of the second area minus the first.

    Attributes:
        difference: of the areas.
        standard_error: of the difference.
        z: difference / standard error; None where that is 0.
        p: two-sided, of no difference; None where z is.
        low: lower end of the difference's 95 % interval, by the normal distribution.
        high: upper end.
        reason: why something is None; None where all is there.
    """

    difference: float | None
    standard_error: float | None
    z: float | None
    p: float | None
    low: float | None
    high: float | None
    reason: str | None = None


def area_covariance(positive: ArrayLike, scores: ArrayLike) -> AreaCovariance:
    """Estimate the covariance of the areas under correlated ROC curves.

    DeLong, DeLong and Clarke-Pearson (1988) average, for each slide, the pairs it wins against the
    other class; the covariance of these averages gives that of the areas. Sun and Xu (2014) take
    the averages from mid-ranks, so that the cost is that of sorting and no pair is formed.

    Args:
        positive: (N,) bool, at least two of each kind.
        scores: (N, K) floats, higher for positive, one column a curve.

    Returns:
        Areas and their covariance.

    Raises:
        ValueError: fewer than two positives or two negatives.
    """
    truth = np.asarray(positive, dtype=bool)
    table = np.asarray(scores, dtype=np.float64)
    m, n = int(truth.sum()), int((~truth).sum())
    if m < 2 or n < 2:
        raise ValueError(f"{m} positives and {n} negatives: two of each are needed")
    among_all = rankdata(table, axis=0)
    above = (among_all[truth] - rankdata(table[truth], axis=0)) / n
    below = 1 - (among_all[~truth] - rankdata(table[~truth], axis=0)) / m
    covariance = _covariance(above) / m + _covariance(below) / n
    return AreaCovariance(np.asarray(above.mean(axis=0)), covariance)


def delong_test(positive: ArrayLike, first: ArrayLike, second: ArrayLike) -> DeLong:
    """Test whether two scores of the same slides have the same area under the ROC curve.

    Slides count as independent of one another. Where a patient has several, the standard error is
    too small as a rule, and a bootstrap over patients is to be trusted instead.

    Args:
        positive: (N,) bool.
        first: (N,) floats, higher for positive.
        second: (N,) floats.

    Returns:
        The test of second minus first. All None but the reason with fewer than two slides of a
        kind; no z and p where the difference does not vary, as with two perfect rankings.
    """
    truth = np.asarray(positive, dtype=bool)
    if min(truth.sum(), (~truth).sum()) < 2:
        nothing = "needs at least two slides of each class"
        return DeLong(None, None, None, None, None, None, nothing)
    scores = np.stack([np.asarray(first, np.float64), np.asarray(second, np.float64)], axis=1)
    areas, covariance = area_covariance(truth, scores)
    difference = float(areas[1] - areas[0])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    # Rankings that agree leave a rounding error of either sign.
    if variance <= 1e-15:
        why = "the difference does not vary between slides, so it cannot be tested"
        return DeLong(difference, 0.0, None, None, None, None, why)
    error = float(np.sqrt(variance))
    z = difference / error
    low, high = difference - Z_95 * error, difference + Z_95 * error
    return DeLong(difference, error, z, float(2 * norm.sf(abs(z))), low, high)


def _covariance(columns: Floats) -> NDArray[np.float64]:
    return np.atleast_2d(np.cov(columns, rowvar=False))
