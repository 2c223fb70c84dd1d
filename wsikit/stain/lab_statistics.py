"""What Reinhard's method knows of a slide or a reference: its colours in Lab, in brief."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from skimage.color import rgb2lab

from wsikit.stain.json_numbers import number, triple
from wsikit.stain.sample import GLASS_VALUE, StainSample, Triple

PALE = 95.0
"""The percentile of tissue's L that counts as its palest."""

DIGITS = 6
"""Fitted numbers are rounded to so many decimals: what different machines' last bits differ in is
far below, and so they fit the same."""


@dataclass(frozen=True)
class LabStatistics:
    """Hold mean and spread of a slide's tissue in CIELAB (D65, 2 degrees), and its two ends.

    Args:
        mean: of L, a, b.
        std: standard deviation of L, a, b.
        pale: the `PALE` percentile of L.
        white: (R, G, B) of glass, 200..255.
    """

    mean: Triple
    std: Triple
    pale: float
    white: Triple

    @classmethod
    def of(cls, sample: StainSample) -> Self:
        """Measure a slide; it has at least one tissue pixel."""
        lab = rgb2lab(sample.pixels[None])[0]
        return cls(
            rounded(lab.mean(axis=0)),
            rounded(lab.std(axis=0)),
            round(float(np.percentile(lab[:, 0], PALE)), DIGITS),
            sample.white,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as lists and numbers."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Take the fields back; see `Normaliser.from_json` for what it raises."""
        return cls(
            triple(data["mean"], -200, 200),
            triple(data["std"], 0, 200),
            number(data["pale"], 0, 100),
            triple(data["white"], GLASS_VALUE, 255),
        )


def rounded(values: np.ndarray[Any, np.dtype[np.floating[Any]]]) -> Triple:
    """Return three numbers, rounded to `DIGITS` decimals."""
    red, green, blue = (round(float(v), DIGITS) for v in values)
    return (red, green, blue)
