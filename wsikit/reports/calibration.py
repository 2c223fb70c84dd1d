"""Do slides called 80 % turn out positive eight times in ten?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsikit.reports.text import share

FEWEST = 20
"""Below so many slides a calibration curve shows chance only."""

Z_95 = 1.959963984540054


class CalibrationBin(NamedTuple):
    """Slides of similar probability.

    Attributes:
        predicted: their mean probability.
        observed: the share of them that is positive.
        low: lower end of the share's 95 % interval.
        high: upper end.
        slides: how many.
    """

    predicted: float
    observed: float
    low: float
    high: float
    slides: int

    def __str__(self) -> str:
        return (
            f"predicted {share(self.predicted)}, observed {share(self.observed)} "
            f"({share(self.low)}\N{EN DASH}{share(self.high)}), {self.slides} slides"
        )


def calibration_bins(
    probability: NDArray[np.float64], positive: NDArray[np.bool_], bins: int = 5
) -> Sequence[CalibrationBin]:
    """Group slides by probability, equally many a group, and count the positive ones.

    Intervals are Wilson's (1927), which stay within 0..1 for small groups. Equal probabilities may
    fall into two groups.

    Args:
        probability: (N,) in 0..1; slides whose probability is not finite are left out.
        positive: (N,) the truth.
        bins: how many groups.

    Returns:
        The groups from low to high; none if there are fewer than 20 slides or only one class.
    """
    finite = np.isfinite(probability)
    probability, positive = probability[finite], positive[finite]
    if len(probability) < FEWEST or positive.all() or not positive.any():
        return ()
    order = np.argsort(probability, kind="stable")
    return [_bin(probability[part], positive[part]) for part in np.array_split(order, bins)]


def _bin(probability: NDArray[np.float64], positive: NDArray[np.bool_]) -> CalibrationBin:
    count = len(positive)
    observed = float(positive.mean())
    spread = 1 + Z_95**2 / count
    centre = (observed + Z_95**2 / (2 * count)) / spread
    half = Z_95 * np.sqrt(observed * (1 - observed) / count + (Z_95 / (2 * count)) ** 2) / spread
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return CalibrationBin(float(probability.mean()), observed, float(low), float(high), count)
