"""Intervals by resampling patients: whole patients are drawn, and all that is theirs comes along.

Slides of one patient resemble one another. Drawn one by one they would seem to tell more than they
do, and every interval would be too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK = 2_000_000
"""Weights handled at once, so that memory does not grow with resamples times slides."""

LEFT_OUT = 0.05
"""A larger share of resamples without a value is mentioned beside the interval."""

ONE_PATIENT = "no interval: it needs at least two patients"


class Interval(NamedTuple):
    """A number and its 95 % interval.

    Attributes:
        value: None where it is not defined.
        low: None where there is no interval.
        high: likewise.
        reason: why something is None, or what the interval leaves out; None where all is there.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None


def patient_codes(patients: ArrayLike) -> Ints:
    """Number patients by their first appearance.

    Args:
        patients: (N,) ids, one a slide.

    Returns:
        (N,) int64 in 0..patients-1.
    """
    codes, _ = pd.factorize(np.asarray(patients))
    return codes.astype(np.int64)


def drawn_patients(patients: int, bootstrap: int, seed: int, columns: int) -> Iterator[Floats]:
    """Draw patients with replacement, as many as there are.

    Args:
        patients: how many there are; with fewer than two there is nothing to draw.
        bootstrap: how many resamples.
        seed: of the draws; the same draws come in whatever blocks.
        columns: width of what the caller will make of a block.

    Yields:
        (b, patients) float64, how often each patient was drawn in each of some resamples.
    """
    if patients < 2 or bootstrap < 1:
        return
    rng = np.random.default_rng(seed)
    even = np.full(patients, 1 / patients)
    step = max(1, BLOCK // max(columns, patients))
    for start in range(0, bootstrap, step):
        draws = rng.multinomial(patients, even, size=min(step, bootstrap - start))
        yield draws.astype(np.float64)


def percentile_interval(value: float, spread: Floats, undefined: str) -> Interval:
    """Take the middle 95 % of what the resamples gave (Efron and Tibshirani 1993).

    Resamples in which the number is not defined are left out; where they are many, the interval
    says so.

    Args:
        value: the number itself; NaN where it is not defined.
        spread: (B,) the number on each resample, NaN where it is not defined; B may be 0.
        undefined: why the number is not defined, if it is not.
    """
    if np.isnan(value):
        return Interval(None, None, None, undefined)
    if not len(spread):
        return Interval(value, None, None, ONE_PATIENT)
    kept = spread[np.isfinite(spread)]
    if not len(kept):
        return Interval(value, None, None, "no interval: not defined on any resample")
    low, high = np.percentile(kept, [2.5, 97.5])
    reason = None
    if len(kept) < (1 - LEFT_OUT) * len(spread):
        reason = f"interval from {len(kept)} of {len(spread)} resamples; undefined in the others"
    return Interval(value, float(low), float(high), reason)
