"""Say how good a classifier is, and how sure of that one may be."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import roc_curve

from wsikit.errors import WsikitError
from wsikit.training.metrics.bootstrap import (
    Floats,
    Interval,
    Ints,
    drawn_patients,
    patient_codes,
    percentile_interval,
)
from wsikit.training.metrics.formulas import (
    METRICS,
    UNDEFINED,
    WITHOUT_INTERVAL,
    Problem,
    measure,
)

__all__ = [
    "METRICS",
    "Interval",
    "RocPoints",
    "auc",
    "classification_metrics",
    "metric_differences",
    "roc_points",
]


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
    and the Brier score sums over classes (0..2). The calibration error is the expected one over
    ten bins; it has no interval.

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
        An interval for each name in `METRICS`, with a reason wherever a number is missing. Low and
        high are None with fewer than two patients.

    Raises:
        WsikitError: a probability is not finite.
        ValueError: the shapes disagree or a label is out of range.
    """
    y, p, codes = _checked(labels, probabilities, groups)
    problem = Problem.of(y, p, codes)
    values, spread = _values([problem]), _spread([problem], bootstrap, seed)
    return {name: _interval(name, values[name][0], spread[name][0]) for name in METRICS}


def metric_differences(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike,
    *,
    bootstrap: int = 1000,
    seed: int,
) -> dict[str, Interval]:
    """Measure the second minus the first of two predictions of the same slides.

    The same patients are drawn for both, so that what makes a slide hard for both cancels.

    Args:
        labels: (N,) integers in 0..C-1.
        first: (N, C) floats.
        second: (N, C) floats.
        groups: (N,) patient ids.
        bootstrap: how many resamples; 0 for none.
        seed: of the resampling.

    Returns:
        The difference of each name in `METRICS`, with its 95 % percentile interval.

    Raises:
        WsikitError: a probability is not finite.
        ValueError: the shapes disagree or a label is out of range.
    """
    y, p, codes = _checked(labels, first, groups)
    _, q, _ = _checked(labels, second, groups)
    problems = [Problem.of(y, p, codes), Problem.of(y, q, codes)]
    values, spread = _values(problems), _spread(problems, bootstrap, seed)
    return {
        name: _interval(name, values[name][1] - values[name][0], spread[name][1] - spread[name][0])
        for name in METRICS
    }


def auc(labels: ArrayLike, probabilities: ArrayLike) -> float | None:
    """Measure the area under the ROC curve; the mean of one-versus-rest areas beyond two classes.

    Args:
        labels: (N,) integers in 0..C-1.
        probabilities: (N, C) floats.

    Returns:
        The area, or None with fewer than two classes among `labels`.
    """
    y, p, codes = _checked(labels, probabilities, np.arange(np.size(labels)))
    area = float(measure(Problem.of(y, p, codes), np.ones((1, len(y))))["auc"][0])
    return None if np.isnan(area) else area


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


def _values(problems: list[Problem]) -> dict[str, Floats]:
    """Compute every metric of each problem on the slides as they are: name to (problems,)."""
    found = [measure(p, np.ones((1, len(p.slides)))) for p in problems]
    return {name: np.concatenate([of_one[name] for of_one in found]) for name in METRICS}


def _spread(problems: list[Problem], bootstrap: int, seed: int) -> dict[str, Floats]:
    """Compute every metric on every resample of patients: name to (problems, B), NaN undefined."""
    patients = len(problems[0].slides)
    parts: dict[str, list[Floats]] = {name: [np.empty((len(problems), 0))] for name in METRICS}
    for draws in drawn_patients(patients, bootstrap, seed, patients):
        found = [measure(p, draws) for p in problems]
        for name in METRICS:
            parts[name].append(np.stack([of_one[name] for of_one in found]))
    return {name: np.concatenate(blocks, axis=1) for name, blocks in parts.items()}


def _interval(name: str, value: float, spread: Floats) -> Interval:
    if name in WITHOUT_INTERVAL and not np.isnan(value):
        return Interval(float(value), None, None, WITHOUT_INTERVAL[name])
    return percentile_interval(float(value), spread, UNDEFINED[name])


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
    return y, p, patient_codes(g)
