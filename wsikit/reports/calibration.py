"""Do slides called 80 % turn out positive eight times in ten?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

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
        patients: of how many patients.
    """

    predicted: float
    observed: float
    low: float
    high: float
    slides: int
    patients: int

    def __str__(self) -> str:
        return (
            f"predicted {share(self.predicted)}, observed {share(self.observed)} "
            f"({share(self.low)}\N{EN DASH}{share(self.high)}), {self.slides} slides"
            f" of {self.patients} patients"
        )


def calibration_bins(
    probability: NDArray[np.float64],
    positive: NDArray[np.bool_],
    patients: NDArray[Any] | None = None,
    bins: int = 5,
) -> Sequence[CalibrationBin]:
    """Group slides by probability, equally many a group, and count the positive ones.

    Intervals are Wilson's (1927) for as many observations as the group has patients: as if the
    slides of a patient told the same, which is the careful end of what they may do. A bootstrap
    over patients would call a small group without a negative slide certain; Wilson's does not.
    Equal probabilities may fall into two groups.

    Args:
        probability: (N,) in 0..1; slides whose probability is not finite are left out.
        positive: (N,) the truth.
        patients: (N,) whose slide it is; None where each is of a patient of its own.
        bins: how many groups.

    Returns:
        The groups from low to high; none if there are fewer than 20 slides or only one class.
    """
    owners = np.arange(len(probability)) if patients is None else patients
    finite = np.isfinite(probability)
    probability, positive, owners = probability[finite], positive[finite], owners[finite]
    if len(probability) < FEWEST or positive.all() or not positive.any():
        return ()
    order = np.argsort(probability, kind="stable")
    return [
        _bin(probability[part], positive[part], len(np.unique(owners[part])))
        for part in np.array_split(order, bins)
    ]


def _bin(
    probability: NDArray[np.float64], positive: NDArray[np.bool_], patients: int
) -> CalibrationBin:
    observed = float(positive.mean())
    spread = 1 + Z_95**2 / patients
    centre = (observed + Z_95**2 / (2 * patients)) / spread
    variance = observed * (1 - observed) / patients + (Z_95 / (2 * patients)) ** 2
    half = Z_95 * np.sqrt(variance) / spread
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    mean = float(probability.mean())
    return CalibrationBin(mean, observed, float(low), float(high), len(positive), patients)
