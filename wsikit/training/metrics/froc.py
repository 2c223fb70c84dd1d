"""Lesions found against false alarms a slide: the free-response ROC curve (FROC).

The question is CAMELYON16's (Ehteshami Bejnordi et al. 2017): going down the scores, which share of
all lesions has been hit once so many places outside any lesion have been pointed at, on average a
slide? The number is the mean of that share at 1/4, 1/2, 1, 2, 4 and 8 false alarms a slide.

A detection is a place where the score map has a peak: a patch all of whose eight neighbours score
lower. Neighbours that score the same are one place, of which the patch nearest to the middle stands
for all. A detection hits every lesion that its patch overlaps; one that overlaps none is a false
alarm. Several detections in one lesion count once. A lesion on no scored patch counts as missed.

Departures from CAMELYON16: there a detection is a point and hits by lying in the lesion, here it
is a patch, the finest thing that was scored; lesions closer than 75 um are not joined, and none is
left out as too small; between two measured points the curve is a step, not a straight line, so the
share is one that some threshold reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import local_maxima

from wsikit.training.metrics.bootstrap import (
    Floats,
    Interval,
    Ints,
    drawn_patients,
    patient_codes,
    percentile_interval,
)

RATES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False alarms a slide at which sensitivity is read off."""

NO_LESION = "no lesion in these slides"


class SlideDetections(NamedTuple):
    """What was found on one slide.

    Attributes:
        patient: whose slide it is.
        lesions: (L,) float64, the score at which each lesion is first hit; -inf where it never is.
        alarms: (F,) float64, the scores of the detections outside any lesion.
    """

    patient: str
    lesions: Floats
    alarms: Floats


class Froc(NamedTuple):
    """The curve and what is read off it.

    Attributes:
        rates: (K,) mean false alarms a slide, rising.
        sensitivity: (K,) share of the lesions hit by then.
        at_rates: sensitivity at each of `RATES`.
        score: the mean of those.
        lesions: how many there are.
        slides: how many the false alarms are averaged over.
    """

    rates: Floats
    sensitivity: Floats
    at_rates: dict[float, Interval]
    score: Interval
    lesions: int
    slides: int


def peaks(rowcol: NDArray[np.int64], scores: Floats) -> NDArray[np.intp]:
    """Find the patches where a slide's score map has a peak.

    Args:
        rowcol: (N, 2) int64, row and column of each patch in the slide's grid.
        scores: (N,) finite floats.

    Returns:
        (P,) indices of patches, in the order of the grid.
    """
    if not len(scores):
        return np.zeros(0, np.intp)
    rows, cols = (rowcol - rowcol.min(axis=0) + 1).T
    # A frame that is lower than all: what lies at the slide's border can be a peak too.
    image = np.full((int(rows.max()) + 2, int(cols.max()) + 2), -np.inf)
    image[rows, cols] = scores
    top: Any = local_maxima(image, connectivity=2)
    plateau, _ = ndimage.label(top, structure=np.ones((3, 3)))
    patches = np.flatnonzero(plateau[rows, cols])
    patches = patches[np.lexsort((cols[patches], rows[patches]))]
    return patches[_middles(plateau[rows[patches], cols[patches]], rowcol[patches])]


def _middles(plateau: Ints, rowcol: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return, for each plateau, the member nearest to its mean place; the first of equals."""
    count = np.maximum(np.bincount(plateau), 1)
    middle = np.stack([np.bincount(plateau, rowcol[:, axis]) / count for axis in (0, 1)], axis=1)
    far = ((rowcol - middle[plateau]) ** 2).sum(axis=1)
    order = np.lexsort((np.arange(len(far)), far.round(9), plateau))
    first = np.r_[True, plateau[order][1:] != plateau[order][:-1]]
    return np.sort(order[first])


def detections(
    patient: str,
    rowcol: NDArray[np.int64],
    scores: Floats,
    overlaps: Sequence[NDArray[np.bool_]],
) -> SlideDetections:
    """Judge the peaks of one slide by its lesions.

    Args:
        patient: whose slide it is.
        rowcol: (N, 2) int64, row and column of each patch.
        scores: (N,) finite floats, higher for positive.
        overlaps: for each lesion, (N,) bool, the patches that overlap it.
    """
    found = peaks(rowcol, scores)
    inside = np.array([over[found] for over in overlaps]).reshape(len(overlaps), len(found))
    hit = np.where(inside, scores[found], -np.inf)
    lesions = hit.max(axis=1, initial=-np.inf)
    return SlideDetections(patient, lesions, scores[found][~inside.any(axis=0)])


def froc(slides: Sequence[SlideDetections], *, bootstrap: int = 1000, seed: int) -> Froc | None:
    """Draw the curve over some slides, and read it off with intervals over patients.

    Args:
        slides: judged slides, those without any lesion too.
        bootstrap: how many resamples of patients; 0 for none.
        seed: of the resampling.

    Returns:
        The curve, or None without a lesion.
    """
    codes = patient_codes([slide.patient for slide in slides])
    patients = int(codes.max()) + 1 if len(codes) else 0
    lesions = int(sum(len(slide.lesions) for slide in slides))
    if not lesions:
        return None
    events = _Events.of(slides, codes)
    owned = np.bincount(codes, minlength=patients).astype(np.float64)
    rates, sensitivity = events.curve(np.ones((1, patients)), owned)
    width = max(1, len(events.owner))
    spread = [
        _read_off(*events.curve(draws, owned))
        for draws in drawn_patients(patients, bootstrap, seed, width)
    ]
    resampled = np.concatenate([np.empty((0, len(RATES))), *spread])
    value = _read_off(rates, sensitivity)[0]
    at_rates = {
        rate: percentile_interval(float(value[k]), resampled[:, k], NO_LESION)
        for k, rate in enumerate(RATES)
    }
    score = percentile_interval(float(value.mean()), resampled.mean(axis=1), NO_LESION)
    return Froc(rates[0], sensitivity[0], at_rates, score, lesions, len(slides))


class _Events(NamedTuple):
    """Hits and false alarms of all slides, from the highest score down.

    `owner` (E,) is the patient, `hit` (E,) tells hits from alarms, `ends` (U,) are the last events
    of each score, and `lesions` (patients,) counts all lesions, those never hit too.
    """

    owner: Ints
    hit: Floats
    ends: Ints
    lesions: Floats

    @classmethod
    def of(cls, slides: Sequence[SlideDetections], codes: Ints) -> _Events:
        count = int(codes.max()) + 1
        lesions = np.zeros(count)
        np.add.at(lesions, codes, [len(slide.lesions) for slide in slides])
        scores = np.concatenate([np.r_[s.lesions, s.alarms] for s in slides])
        hit = np.concatenate(
            [np.repeat([1.0, 0.0], [len(s.lesions), len(s.alarms)]) for s in slides]
        )
        sizes = [len(s.lesions) + len(s.alarms) for s in slides]
        owner = np.repeat(codes, sizes)
        order = np.argsort(-scores, kind="stable")
        order = order[np.isfinite(scores[order])]
        ordered = scores[order]
        ends = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True][: len(ordered)])
        return cls(owner[order], hit[order], ends, lesions)

    def curve(self, draws: Floats, owned: Floats) -> tuple[Floats, Floats]:
        """Follow the curve on each resample.

        Args:
            draws: (B, patients) how often each patient was drawn.
            owned: (patients,) slides of each.

        Returns:
            Mean false alarms a slide and sensitivity, each (B, U + 1) from 0 on; sensitivity is
            NaN on a resample without a lesion.
        """
        weights = draws[:, self.owner]
        start = np.zeros((len(draws), 1))
        hits = np.cumsum(weights * self.hit, axis=1)[:, self.ends]
        alarms = np.cumsum(weights * (1 - self.hit), axis=1)[:, self.ends]
        lesions = (draws @ self.lesions)[:, None]
        share = np.full(hits.shape, np.nan)
        np.divide(hits, lesions, out=share, where=lesions > 0)
        begin = np.where(lesions > 0, start, np.nan)
        slides = (draws @ owned)[:, None]
        return np.hstack([start, alarms / slides]), np.hstack([begin, share])


def _read_off(rates: Floats, sensitivity: Floats) -> Floats:
    """Return the highest sensitivity reached with at most so many false alarms: (B, 6)."""
    last = [(rates <= rate + 1e-12).sum(axis=1) - 1 for rate in RATES]
    rows = np.arange(len(rates))
    return np.stack([sensitivity[rows, k] for k in last], axis=1)
