"""Reinhard et al. (2001): give a slide's tissue the reference's mean and spread in Lab.

Departures:

* CIELAB in place of the paper's l-alpha-beta, as most tools for histology do: its lightness does
  not run away in the dark, and scikit-image has it.
* Mean and spread are those of the slide's tissue, once a slide. With glass in them the result would
  depend on how much glass a picture shows, and patch by patch, on what tissue a patch holds.
* Spreads are scaled by `GAIN` at most.
* The method as published moves glass along with tissue: it comes out grey, pink or burnt. Here the
  map holds for tissue up to its palest; from there to glass it runs straight to the reference's
  glass, never flatter than half its slope within tissue nor steeper than one and a half times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab

from wsikit.stain.lab_kernel import LabMove, move_in_lab
from wsikit.stain.lab_statistics import LabStatistics
from wsikit.stain.normaliser import Normaliser
from wsikit.stain.reference import Reference, needed
from wsikit.stain.sample import StainSample, Triple
from wsikit.types import UInt8Image

GAIN = (0.4, 2.5)
"""The least and the largest factor on the spread of L, a or b."""


@dataclass(frozen=True)
class ReinhardNormaliser(Normaliser):
    """Bring mean and spread of a slide's tissue in Lab to those of the reference.

    Args:
        source: the slide's tissue.
        reference: what it is to become.
    """

    method: ClassVar[str] = "reinhard"
    needs = "lab"
    source: LabStatistics
    reference: LabStatistics

    @classmethod
    def fit(cls, sample: StainSample, reference: Reference) -> Normaliser:
        """Measure the slide's tissue in Lab."""
        target = needed(reference.lab, cls.method)
        return cls(LabStatistics.of(sample), target)

    def apply(self, image: UInt8Image) -> UInt8Image:
        """Shift and scale in Lab."""
        return move_in_lab(image, self._move)

    def to_json(self) -> dict[str, Any]:
        """Return both sides' statistics."""
        return {
            "method": self.method,
            "source": self.source.to_json(),
            "reference": self.reference.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ReinhardNormaliser:
        """Take both sides' statistics back."""
        return cls(
            LabStatistics.from_json(data["source"]), LabStatistics.from_json(data["reference"])
        )

    def gains(self) -> NDArray[np.float64]:
        """Return (3,) float64, the factors on L, a and b."""
        source = np.maximum(self.source.std, 1e-6)
        return np.clip(np.array(self.reference.std) / source, *GAIN)

    def tissue_darkness(self) -> float:
        """Return how much darker than glass, in L, a pixel must be to be moved as tissue.

        It is the darkness of the slide's palest tissue, or more where the map would otherwise have
        to run too flat or too steeply from there to glass.
        """
        white = float(_lab_of(self.source.white)[0])
        gain, shift = float(self.gains()[0]), float(self._glass_shift()[0])
        return max(white - self.source.pale, 2 * abs(shift) / gain, 1.0)

    def _glass_shift(self) -> NDArray[np.float64]:
        """Return (3,) float64, how far from the reference's glass tissue's map takes glass."""
        glass = (_lab_of(self.source.white) - self.source.mean) * self.gains()
        return np.asarray(_lab_of(self.reference.white) - (self.reference.mean + glass))

    @cached_property
    def _move(self) -> LabMove:
        return LabMove(
            _lab_of(self.source.white).astype(np.float32),
            _lab_of(self.reference.white).astype(np.float32),
            self.gains().astype(np.float32),
            self._glass_shift().astype(np.float32),
            np.float32(1 / self.tissue_darkness()),
        )


def _lab_of(rgb: Triple) -> NDArray[np.float64]:
    return np.asarray(rgb2lab(np.array([[rgb]]) / 255)[0, 0])
