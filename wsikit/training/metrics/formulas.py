"""Metrics of a classifier as weighted sums over patients.

A weight says how often a patient was drawn, with all slides. One call with all weights 1 gives the
value; one with a matrix of bootstrap counts gives the interval. So both come from the same lines,
and a thousand resamples are a few matrix products. What is a plain sum over slides is summed by
patient once, so that only the two metrics that rank slides look at each of them again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsikit.training.metrics.bootstrap import Floats, Ints

FEWEST_CALIBRATED = 20
"""With fewer slides the distance between probability and outcome is chance."""

CALIBRATION_BINS = 10

TWO_CLASSES = "needs slides of two classes"

UNDEFINED = {
    "auc": TWO_CLASSES,
    "average_precision": TWO_CLASSES,
    "accuracy": "no slide",
    "balanced_accuracy": TWO_CLASSES,
    "sensitivity": "no positive slide",
    "specificity": "no negative slide",
    "f1": "no slide is positive or called positive",
    "brier": "no slide",
    "calibration_error": f"needs at least {FEWEST_CALIBRATED} slides",
}
"""Why each metric may be undefined."""

METRICS = tuple(UNDEFINED)

WITHOUT_INTERVAL = {
    "calibration_error": "no interval: resampling adds to an error that is never below zero",
}
"""Metrics that a bootstrap cannot give an interval for, and why."""


class _Ranking(NamedTuple):
    """One one-versus-rest problem, its slides sorted by falling score.

    `owner` (N,) is whose slide each is, `starts` (U,) where each run of equal scores begins,
    `positive` (N,) the truth.
    """

    owner: Ints
    starts: NDArray[np.intp]
    positive: Floats


class Problem(NamedTuple):
    """Everything the metrics need and no resample changes: sums over each patient's slides.

    Arrays are (P,) or (P, K), a row a patient. A column is a one-versus-rest problem whose metrics
    are averaged: class 1 alone where there are two classes, else each class that occurs; of
    `occurring` and `recalled` it is each class that occurs, also with two classes.

    Attributes:
        total: how many slides there are.
        slides: slides.
        truth: slides of the class.
        guess: slides called so.
        hits: slides of the class and called so.
        spared: slides neither of the class nor called so.
        correct: slides called right.
        occurring: slides of each class that occurs.
        recalled: those of them called right.
        squares: squared errors of the probabilities.
        binned: (P, 10), hits minus probabilities in each bin of probability.
        rankings: the slides in order of each problem's score.
    """

    total: int
    slides: Floats
    truth: Floats
    guess: Floats
    hits: Floats
    spared: Floats
    correct: Floats
    occurring: Floats
    recalled: Floats
    squares: Floats
    binned: Floats
    rankings: list[_Ranking]

    @classmethod
    def of(cls, y: Ints, p: Floats, codes: Ints) -> Problem:
        """Prepare labels (N,) in 0..C-1, probabilities (N, C) and patients (N,) in 0..P-1."""
        classes = p.shape[1]
        picked = p.argmax(axis=1) if len(y) else y
        present = np.unique(y)
        shown = np.array([1]) if classes == 2 else present
        one_hot = (y[:, None] == np.arange(classes)).astype(np.float64)
        truth, guess = one_hot[:, shown], (picked[:, None] == shown).astype(np.float64)
        correct = (picked == y).astype(np.float64)
        hit = one_hot[:, 1] if classes == 2 else correct
        stated = p[:, 1] if classes == 2 else p.max(axis=1, initial=0)

        def by_patient(table: Floats) -> Floats:
            sums = np.zeros((int(codes.max(initial=-1)) + 1, *table.shape[1:]))
            np.add.at(sums, codes, table)
            return sums

        return cls(
            total=len(y),
            slides=by_patient(np.ones(len(y))),
            truth=by_patient(truth),
            guess=by_patient(guess),
            hits=by_patient(truth * guess),
            spared=by_patient((1 - truth) * (1 - guess)),
            correct=by_patient(correct),
            occurring=by_patient(one_hot[:, present]),
            recalled=by_patient(one_hot[:, present] * correct[:, None]),
            squares=by_patient(((p - one_hot) ** 2).sum(axis=1) / (2 if classes == 2 else 1)),
            binned=by_patient(_binned(stated, hit)),
            rankings=[_ranking(one_hot[:, k], p[:, k], codes) for k in shown],
        )


def _binned(stated: Floats, hit: Floats) -> Floats:
    column = np.clip((stated * CALIBRATION_BINS).astype(np.int64), 0, CALIBRATION_BINS - 1)
    table = np.zeros((len(stated), CALIBRATION_BINS))
    table[np.arange(len(stated)), column] = hit - stated
    return table


def _ranking(positive: Floats, scores: Floats, codes: Ints) -> _Ranking:
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(order) else order
    return _Ranking(codes[order], starts, positive[order])


def ratio(above: Floats, below: Floats) -> Floats:
    """Divide; NaN, quietly, where the denominator is zero. NaN is 'undefined' in this module."""
    out = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out


def _mean(columns: Floats) -> Floats:
    """Average over problems, (B, K) to (B,); undefined where any is, or where there is none."""
    if columns.shape[1] == 0:
        return np.full(len(columns), np.nan)
    return np.asarray(columns.mean(axis=1))


def _tied(ranking: _Ranking, draws: Floats) -> tuple[Floats, Floats]:
    """Sum positive and negative weight over each run of equal scores, (B, P) to (B, U)."""
    w = draws[:, ranking.owner]
    positive = np.add.reduceat(w * ranking.positive, ranking.starts, axis=1)
    return positive, np.add.reduceat(w, ranking.starts, axis=1) - positive


def _auc(problem: Problem, draws: Floats) -> Floats:
    """Count pairs in the right order, ties half (Mann and Whitney 1947)."""
    areas = np.full((len(draws), len(problem.rankings)), np.nan)
    if problem.total:
        for k, ranking in enumerate(problem.rankings):
            positive, negative = _tied(ranking, draws)
            below = negative.sum(axis=1, keepdims=True) - np.cumsum(negative, axis=1)
            won = (positive * (below + 0.5 * negative)).sum(axis=1)
            areas[:, k] = ratio(won, positive.sum(axis=1) * negative.sum(axis=1))
    return _mean(areas)


def _average_precision(problem: Problem, draws: Floats) -> Floats:
    """Sum precision times the gain in recall at each distinct score, without interpolation."""
    areas = np.full((len(draws), len(problem.rankings)), np.nan)
    if problem.total:
        for k, ranking in enumerate(problem.rankings):
            positive, negative = _tied(ranking, draws)
            true = np.cumsum(positive, axis=1)
            # Nothing drawn yet at a score: no recall is gained there, so any precision will do.
            precision = np.nan_to_num(ratio(true, true + np.cumsum(negative, axis=1)))
            area = ratio((positive * precision).sum(axis=1), positive.sum(axis=1))
            areas[:, k] = np.where(negative.sum(axis=1) > 0, area, np.nan)
    return _mean(areas)


def _accuracy(problem: Problem, draws: Floats) -> Floats:
    return ratio(draws @ problem.correct, draws @ problem.slides)


def _balanced_accuracy(problem: Problem, draws: Floats) -> Floats:
    if problem.occurring.shape[1] < 2:
        return np.full(len(draws), np.nan)
    return _mean(ratio(draws @ problem.recalled, draws @ problem.occurring))


def _sensitivity(problem: Problem, draws: Floats) -> Floats:
    return _mean(ratio(draws @ problem.hits, draws @ problem.truth))


def _specificity(problem: Problem, draws: Floats) -> Floats:
    rest = problem.slides[:, None] - problem.truth
    return _mean(ratio(draws @ problem.spared, draws @ rest))


def _f1(problem: Problem, draws: Floats) -> Floats:
    return _mean(ratio(2 * (draws @ problem.hits), draws @ problem.truth + draws @ problem.guess))


def _brier(problem: Problem, draws: Floats) -> Floats:
    return ratio(draws @ problem.squares, draws @ problem.slides)


def _calibration_error(problem: Problem, draws: Floats) -> Floats:
    """Average |share that came true - mean probability| over ten equal bins (Naeini et al. 2015).

    With two classes the probability is that of class 1, with more that of the predicted class.
    """
    if problem.total < FEWEST_CALIBRATED:
        return np.full(len(draws), np.nan)
    return ratio(np.abs(draws @ problem.binned).sum(axis=1), draws @ problem.slides)


FORMULAS: dict[str, Callable[[Problem, Floats], Floats]] = {
    "auc": _auc,
    "average_precision": _average_precision,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "sensitivity": _sensitivity,
    "specificity": _specificity,
    "f1": _f1,
    "brier": _brier,
    "calibration_error": _calibration_error,
}
