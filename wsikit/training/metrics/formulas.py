"""Metrics of a classifier as weighted sums over patients.

A weight says how often a patient was drawn, with all slides. One call with all weights 1 gives the
value; one with a matrix of bootstrap counts gives the interval. So both come from the same lines,
and a thousand resamples are a few matrix products. What is a plain sum over slides is summed by
patient once, so that only the two metrics that rank slides look at each of them again; see
`ranking`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from wsikit.training.metrics.bootstrap import Floats, Ints
from wsikit.training.metrics.ranking import Ranking, areas

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
    rankings: list[Ranking]

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
            sums = np.empty((int(codes.max(initial=-1)) + 1, *table.shape[1:]))
            columns = (sums[:, None], table[:, None]) if table.ndim == 1 else (sums, table)
            for total, column in zip(*(c.T for c in columns), strict=True):
                total[:] = np.bincount(codes, column, minlength=len(sums))
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
            rankings=[Ranking.of(y == k, p[:, k], codes) for k in shown],
        )


def _binned(stated: Floats, hit: Floats) -> Floats:
    column = np.clip((stated * CALIBRATION_BINS).astype(np.int64), 0, CALIBRATION_BINS - 1)
    table = np.zeros((len(stated), CALIBRATION_BINS))
    table[np.arange(len(stated)), column] = hit - stated
    return table


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


def _ranked(problem: Problem, draws: Floats) -> dict[str, Floats]:
    """Return the two metrics that rank slides; see `ranking`."""
    found = [areas(ranking, draws) for ranking in problem.rankings]
    roc, precision = np.empty((2, len(draws), len(found)))
    for k, of_class in enumerate(found):
        roc[:, k], precision[:, k] = of_class
    return {"auc": _mean(roc), "average_precision": _mean(precision)}


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


_SUMS: dict[str, Callable[[Problem, Floats], Floats]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "sensitivity": _sensitivity,
    "specificity": _specificity,
    "f1": _f1,
    "brier": _brier,
    "calibration_error": _calibration_error,
}


def measure(problem: Problem, draws: Floats) -> dict[str, Floats]:
    """Compute every metric on resamples.

    Args:
        problem: what is measured.
        draws: (B, P) float64, how often each patient was drawn.

    Returns:
        (B,) float64 for each name in `METRICS`, NaN where it is undefined.
    """
    found = _ranked(problem, draws)
    return found | {name: formula(problem, draws) for name, formula in _SUMS.items()}
