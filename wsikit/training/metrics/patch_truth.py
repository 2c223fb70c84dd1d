"""Hold patch scores against regions known to be positive: ROC area and Dice coefficient.

What a patient's patches add to a number is summed once, and resampling patients only weighs those
sums. So an interval costs as good as nothing, however many patches there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsikit.training.metrics.bootstrap import (
    Floats,
    Interval,
    Ints,
    drawn_patients,
    patient_codes,
    percentile_interval,
)
from wsikit.training.metrics.formulas import ratio

Bools = NDArray[np.bool_]

ROUNDING = 1e-9
"""A share this close to a limit is on it."""

BOTH_KINDS = "needs patches inside and outside the known regions"


@dataclass(frozen=True)
class ScoredPatches:
    """One slide's patches with their truth.

    Attributes:
        slide_id: the slide.
        patient: whose slide it is.
        scores: (N,) float64, higher for positive.
        share: (N,) float64 in 0..1, the part of each patch that lies in a known region.
    """

    slide_id: str
    patient: str
    scores: Floats
    share: Floats

    def positive(self, least: float) -> Bools:
        """Tell which patches count as positive: (N,) bool, at least `least` of each inside."""
        return np.asarray(self.share >= least - ROUNDING)

    def clear(self, least: float) -> Bools:
        """Tell which patches are no border cases: positive, or not inside at all."""
        return np.asarray(self.positive(least) | (self.share <= ROUNDING))


def pooled_auc(
    slides: Sequence[ScoredPatches],
    least: float,
    *,
    borders: bool,
    bootstrap: int = 1000,
    seed: int,
) -> Interval:
    """Measure how well scores tell positive patches from others, all slides in one pot.

    The area is a sum over pairs of patients: how often a positive patch of one scores above a
    negative patch of the other, ties half. That table is made once; a resample weighs it.

    Args:
        slides: the patches.
        least: a patch is positive where at least this share of it is inside.
        borders: whether patches that are inside by less count as negative; else they are left out.
        bootstrap: how many resamples of patients; 0 for none.
        seed: of the resampling.
    """
    codes = patient_codes([slide.patient for slide in slides])
    patients = int(codes.max()) + 1 if len(codes) else 0
    truth, scores, owner = _pooled(slides, codes, least, borders)
    won = np.zeros((patients, patients))
    order = np.argsort(scores[truth], kind="stable")
    mine, ranked = owner[truth][order], scores[truth][order]
    for other in range(patients):
        rest = np.sort(scores[~truth & (owner == other)])
        below = np.searchsorted(rest, ranked, "left") + np.searchsorted(rest, ranked, "right")
        won[:, other] = np.bincount(mine, below / 2, minlength=patients)
    inside = np.bincount(owner[truth], minlength=patients).astype(np.float64)
    outside = np.bincount(owner[~truth], minlength=patients).astype(np.float64)

    def area(draws: Floats) -> Floats:
        return ratio(((draws @ won) * draws).sum(axis=1), (draws @ inside) * (draws @ outside))

    spread = [area(draws) for draws in drawn_patients(patients, bootstrap, seed, patients)]
    value = float(area(np.ones((1, patients)))[0])
    return percentile_interval(value, np.concatenate([np.empty(0), *spread]), BOTH_KINDS)


def _pooled(
    slides: Sequence[ScoredPatches], codes: Ints, least: float, borders: bool
) -> tuple[Bools, Floats, Ints]:
    """Return truth, score and patient of every patch that counts."""
    kept = [np.ones(len(s.scores), bool) if borders else s.clear(least) for s in slides]
    none = np.zeros(0)
    truth = [s.positive(least)[keep] for s, keep in zip(slides, kept, strict=True)]
    scores = [s.scores[keep] for s, keep in zip(slides, kept, strict=True)]
    owner = [np.full(keep.sum(), code) for code, keep in zip(codes, kept, strict=True)]
    return (
        np.concatenate([none.astype(bool), *truth]),
        np.concatenate([none, *scores]),
        np.concatenate([none.astype(np.int64), *owner]),
    )


def slide_auc(slide: ScoredPatches, least: float, *, borders: bool) -> float | None:
    """Measure one slide's area; None where it has only one kind of patch."""
    return pooled_auc([slide], least, borders=borders, bootstrap=0, seed=0).value


def dice(slide: ScoredPatches, least: float, threshold: float) -> float | None:
    """Measure one slide's overlap of positive patches with those at or above a threshold.

    Returns:
        2 TP / (2 TP + FP + FN), counted in patches; None where there is nothing to overlap.
    """
    hits, called, true = _overlap(slide, least, threshold)
    return 2 * hits / (called + true) if called + true else None


def pooled_dice(
    slides: Sequence[ScoredPatches],
    least: float,
    threshold: float,
    *,
    bootstrap: int = 1000,
    seed: int,
) -> Interval:
    """Measure the overlap over the patches of all slides together; see `dice`."""
    counts = np.array([_overlap(slide, least, threshold) for slide in slides], np.float64)
    counts = counts.reshape(-1, 3)
    return _over_slides(
        slides, 2 * counts[:, 0], counts[:, 1] + counts[:, 2],
        "no patch is positive or called positive", bootstrap, seed,
    )  # fmt: skip


def mean_over_slides(
    slides: Sequence[ScoredPatches],
    values: Sequence[float | None],
    undefined: str,
    *,
    bootstrap: int = 1000,
    seed: int,
) -> Interval:
    """Average a number over the slides that have it.

    Args:
        slides: whose numbers they are.
        values: one a slide, None where a slide has none.
        undefined: what to say where no slide has one.
        bootstrap: how many resamples of patients; 0 for none.
        seed: of the resampling.
    """
    known = np.array([value is not None for value in values], np.float64)
    sums = np.array([value or 0.0 for value in values])
    return _over_slides(slides, sums, known, undefined, bootstrap, seed)


def best_threshold(slides: Sequence[ScoredPatches], least: float) -> float | None:
    """Find the score from which on patches are best called positive: the highest pooled Dice.

    To be asked of validation slides, never of those that are measured.

    Returns:
        A score that occurs; the highest of equally good ones. None without a positive patch.
    """
    codes = np.zeros(len(slides), np.int64)
    truth, scores, _ = _pooled(slides, codes, least, borders=True)
    if not truth.any():
        return None
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    hits = np.cumsum(truth[order])
    overlap = 2 * hits / (np.arange(1, len(scores) + 1) + truth.sum())
    last = np.r_[ordered[1:] != ordered[:-1], True]  # equal scores are called together
    ends = np.flatnonzero(last)
    return float(ordered[ends[np.argmax(overlap[ends])]])


def _overlap(slide: ScoredPatches, least: float, threshold: float) -> tuple[int, int, int]:
    """Count patches both called and positive, called, and positive."""
    called, true = slide.scores >= threshold, slide.positive(least)
    return int((called & true).sum()), int(called.sum()), int(true.sum())


def _over_slides(
    slides: Sequence[ScoredPatches],
    above: Floats,
    below: Floats,
    undefined: str,
    bootstrap: int,
    seed: int,
) -> Interval:
    """Divide one sum over slides by another, with an interval over patients."""
    codes = patient_codes([slide.patient for slide in slides])
    patients = int(codes.max()) + 1 if len(codes) else 0
    upper = np.bincount(codes, above, minlength=patients)
    lower = np.bincount(codes, below, minlength=patients)
    spread = [
        ratio(draws @ upper, draws @ lower)
        for draws in drawn_patients(patients, bootstrap, seed, patients)
    ]
    value = float(ratio(upper.sum(keepdims=True), lower.sum(keepdims=True))[0])
    return percentile_interval(value, np.concatenate([np.empty(0), *spread]), undefined)
