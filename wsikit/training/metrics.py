"""Say how good a classifier is, and how sure of that one may be.

Every metric is written as a weighted sum over slides, where a weight says how often a slide was
drawn. One call with all weights 1 gives the value; one with a matrix of bootstrap counts gives the
interval. So both come from the same lines, and a thousand resamples are a few matrix products.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_curve

from wsikit.errors import WsikitError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

METRICS = (
    "auc",
    "average_precision",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "f1",
    "brier",
)

_BLOCK = 2_000_000
"""Weights handled at once, so that memory does not grow with resamples times slides."""


class Interval(NamedTuple):
    """A metric and its 95 % interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


class RocPoints(NamedTuple):
    """A ROC curve: false and true positive rates, each (K,) float64 in 0..1, from 0 up to 1."""

    fpr: Floats
    tpr: Floats


def classification_metrics(
    labels: ArrayLike,
    probabilities: ArrayLike,
    groups: ArrayLike,
    *,
    bootstrap: int = 1000,
    seed: int,
) -> dict[str, Interval]:
    """Measure slide predictions, with 95 % percentile intervals from a bootstrap over patients.

    The predicted class is the most probable one; no threshold is tuned. With two classes,
    sensitivity, specificity, F1, average precision and the Brier score are those of class 1
    (Brier 1950's score halved, so 0..1). With more, they are means over one-versus-rest problems,
    and the Brier score sums over classes (0..2).

    A metric is undefined where its formula divides by nothing: AUC, average precision and balanced
    accuracy with fewer than two classes, sensitivity without positives. A class that never occurs
    in `labels` is left out of the means. A resample in which a metric is undefined is left out of
    its interval (Efron and Tibshirani 1993, percentile method). The interval knows only the
    variation that the patients at hand show: all right gives [1, 1].

    Args:
        labels: (N,) integers in 0..C-1.
        probabilities: (N, C) floats, C >= 2, one row a slide.
        groups: (N,) patient ids; whole patients are resampled.
        bootstrap: how many resamples; 0 for none.
        seed: of the resampling.

    Returns:
        An interval for each name in `METRICS`. Low and high are None with fewer than two patients.

    Raises:
        WsikitError: a probability is not finite.
        ValueError: the shapes disagree or a label is out of range.
    """
    y, p, codes = _checked(labels, probabilities, groups)
    problem = _Problem.of(y, p)
    ones = np.ones((1, len(y)))
    values = {name: float(metric(problem, ones)[0]) for name, metric in _FORMULAS.items()}
    spread = _resampled(problem, codes, bootstrap, seed)
    return {name: _interval(values[name], spread[name]) for name in METRICS}


def auc(labels: ArrayLike, probabilities: ArrayLike) -> float | None:
    """Measure the area under the ROC curve; the mean of one-versus-rest areas beyond two classes.

    Args:
        labels: (N,) integers in 0..C-1.
        probabilities: (N, C) floats.

    Returns:
        The area, or None with fewer than two classes among `labels`.
    """
    y, p, _ = _checked(labels, probabilities, np.arange(np.size(labels)))
    return _defined(float(_auc(_Problem.of(y, p), np.ones((1, len(y))))[0]))


def roc_points(positive: ArrayLike, scores: ArrayLike) -> RocPoints | None:
    """Trace the ROC curve of one score.

    Args:
        positive: (N,) bool.
        scores: (N,) floats, higher for positive.

    Returns:
        The curve, or None without a positive or without a negative.
    """
    truth = np.asarray(positive, dtype=bool)
    if truth.all() or not truth.any():
        return None
    fpr, tpr, _ = roc_curve(truth, np.asarray(scores, dtype=np.float64))
    return RocPoints(fpr, tpr)


class _Ranking(NamedTuple):
    """One one-versus-rest problem, its slides sorted by falling score.

    `order` is (N,), `starts` (U,) where each run of equal scores begins, `positive` (N,) sorted.
    """

    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    positive: Floats


class _Problem(NamedTuple):
    """Everything the metrics need and no resample changes.

    `truth` and `guess` are (N, K) of 0 and 1, one column a one-versus-rest problem whose metrics
    are averaged: class 1 alone where C is 2, else each class that occurs. `recalled` is the same
    for every class that occurs, also with two classes. `squares` is (N,), each slide's squared
    error.
    """

    truth: Floats
    guess: Floats
    correct: Floats
    occurring: Floats
    squares: Floats
    rankings: list[_Ranking]

    @classmethod
    def of(cls, y: Ints, p: Floats) -> _Problem:
        count = p.shape[1]
        picked = p.argmax(axis=1) if len(y) else y
        present = np.unique(y)
        shown = np.array([1]) if count == 2 else present
        one_hot = (y[:, None] == np.arange(count)).astype(np.float64)
        squares = ((p - one_hot) ** 2).sum(axis=1) / (2 if count == 2 else 1)
        return cls(
            truth=one_hot[:, shown],
            guess=(picked[:, None] == shown).astype(np.float64),
            correct=(picked == y).astype(np.float64),
            occurring=one_hot[:, present],
            squares=squares,
            rankings=[_ranking(one_hot[:, k], p[:, k]) for k in shown],
        )


def _ranking(positive: Floats, scores: Floats) -> _Ranking:
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(order) else order
    return _Ranking(order, starts, positive[order])


def _ratio(above: Floats, below: Floats) -> Floats:
    """Divide; NaN, quietly, where the denominator is zero. NaN is 'undefined' in this module."""
    out = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out


def _mean(columns: Floats) -> Floats:
    """Average over problems, (B, K) to (B,); undefined where any is, or where there is none."""
    if columns.shape[1] == 0:
        return np.full(len(columns), np.nan)
    return np.asarray(columns.mean(axis=1))


def _tied(ranking: _Ranking, weights: Floats) -> tuple[Floats, Floats]:
    """Sum positive and negative weight over each run of equal scores, (B, N) to (B, U)."""
    w = weights[:, ranking.order]
    positive = np.add.reduceat(w * ranking.positive, ranking.starts, axis=1)
    return positive, np.add.reduceat(w, ranking.starts, axis=1) - positive


def _auc(problem: _Problem, weights: Floats) -> Floats:
    """Count pairs in the right order, ties half (Mann and Whitney 1947)."""
    areas = np.full((len(weights), len(problem.rankings)), np.nan)
    if weights.shape[1]:
        for k, ranking in enumerate(problem.rankings):
            positive, negative = _tied(ranking, weights)
            below = negative.sum(axis=1, keepdims=True) - np.cumsum(negative, axis=1)
            won = (positive * (below + 0.5 * negative)).sum(axis=1)
            areas[:, k] = _ratio(won, positive.sum(axis=1) * negative.sum(axis=1))
    return _mean(areas)


def _average_precision(problem: _Problem, weights: Floats) -> Floats:
    """Sum precision times the gain in recall at each distinct score, without interpolation."""
    areas = np.full((len(weights), len(problem.rankings)), np.nan)
    if weights.shape[1]:
        for k, ranking in enumerate(problem.rankings):
            positive, negative = _tied(ranking, weights)
            true = np.cumsum(positive, axis=1)
            # Nothing drawn yet at a score: no recall is gained there, so any precision will do.
            precision = np.nan_to_num(_ratio(true, true + np.cumsum(negative, axis=1)))
            area = _ratio((positive * precision).sum(axis=1), positive.sum(axis=1))
            areas[:, k] = np.where(negative.sum(axis=1) > 0, area, np.nan)
    return _mean(areas)


def _accuracy(problem: _Problem, weights: Floats) -> Floats:
    return _ratio(weights @ problem.correct, weights.sum(axis=1))


def _balanced_accuracy(problem: _Problem, weights: Floats) -> Floats:
    if problem.occurring.shape[1] < 2:
        return np.full(len(weights), np.nan)
    hits = weights @ (problem.occurring * problem.correct[:, None])
    return _mean(_ratio(hits, weights @ problem.occurring))


def _sensitivity(problem: _Problem, weights: Floats) -> Floats:
    return _mean(_ratio(weights @ (problem.truth * problem.guess), weights @ problem.truth))


def _specificity(problem: _Problem, weights: Floats) -> Floats:
    rest = 1 - problem.truth
    return _mean(_ratio(weights @ (rest * (1 - problem.guess)), weights @ rest))


def _f1(problem: _Problem, weights: Floats) -> Floats:
    hits = weights @ (problem.truth * problem.guess)
    return _mean(_ratio(2 * hits, weights @ problem.truth + weights @ problem.guess))


def _brier(problem: _Problem, weights: Floats) -> Floats:
    return _ratio(weights @ problem.squares, weights.sum(axis=1))


_FORMULAS: dict[str, Callable[[_Problem, Floats], Floats]] = {
    "auc": _auc,
    "average_precision": _average_precision,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "sensitivity": _sensitivity,
    "specificity": _specificity,
    "f1": _f1,
    "brier": _brier,
}


def _resampled(problem: _Problem, codes: Ints, bootstrap: int, seed: int) -> dict[str, Floats]:
    """Compute every metric on every resample of patients: name to (B,), NaN where undefined."""
    patients = int(codes.max()) + 1 if len(codes) else 0
    empty = np.empty(0)
    if patients < 2 or bootstrap < 1:
        return dict.fromkeys(METRICS, empty)
    rng = np.random.default_rng(seed)
    even = np.full(patients, 1 / patients)
    step = max(1, _BLOCK // len(codes))
    parts: dict[str, list[Floats]] = {name: [] for name in METRICS}
    for start in range(0, bootstrap, step):
        draws = rng.multinomial(patients, even, size=min(step, bootstrap - start))
        weights = draws[:, codes].astype(np.float64)
        for name, metric in _FORMULAS.items():
            parts[name].append(metric(problem, weights))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _interval(value: float, spread: Floats) -> Interval:
    kept = spread[np.isfinite(spread)]
    if np.isnan(value) or not len(kept):
        return Interval(_defined(value), None, None)
    low, high = np.percentile(kept, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value


def _checked(
    labels: ArrayLike, probabilities: ArrayLike, groups: ArrayLike
) -> tuple[Ints, Floats, Ints]:
    y = np.asarray(labels, dtype=np.int64)
    p = np.asarray(probabilities, dtype=np.float64)
    g = np.asarray(groups)
    if p.ndim != 2 or p.shape[1] < 2 or y.shape != p.shape[:1] or g.shape != y.shape:
        raise ValueError(f"shapes disagree: labels {y.shape}, p {p.shape}, groups {g.shape}")
    if len(y) and not 0 <= y.min() <= y.max() < p.shape[1]:
        raise ValueError(f"labels lie outside 0..{p.shape[1] - 1}")
    if not np.isfinite(p).all():
        raise WsikitError("a predicted probability is not finite", "predict these slides again")
    codes, _ = pd.factorize(g)
    return y, p, codes.astype(np.int64)
