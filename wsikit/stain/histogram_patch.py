"""Histogram matching, each patch by itself: the source read literally (CN115409783A).

Every pixel of the patch counts, glass too, and the patch as a whole gets the reference's histogram,
as `skimage.exposure.match_histograms` would give it against a picture with that histogram. The
price of the letter: the reference is tissue, so glass in a patch is coloured like the reference's
palest tissue, and a patch of stroma alone is given nuclei's blue. It is here to reproduce work that
did so; `histogram` is the better choice. Departure: a patch that is next to all glass stays as it
is, because matching it would stretch the camera's noise over the whole range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from wsikit.stain.json_numbers import counts_or_values
from wsikit.stain.lookup import Histogram, StainTable, apply_table, count_values
from wsikit.stain.normaliser import Normaliser
from wsikit.stain.reference import Reference
from wsikit.stain.sample import GLASS_VALUE, StainSample
from wsikit.types import UInt8Image

MIN_TISSUE_SHARE = 0.01
"""A patch stays as it is where no channel has so large a share of values as dark as tissue."""


@dataclass(frozen=True, eq=False)
class HistogramPatchNormaliser(Normaliser):
    """Give each patch the histogram of the reference.

    Args:
        reference: (3, 256) int64.
    """

    method: ClassVar[str] = "histogram-patch"
    reference: Histogram

    @classmethod
    def fit(cls, sample: StainSample, reference: Reference) -> Self:
        """Keep the reference; the slide as a whole has no say."""
        return cls(reference.histogram)

    def apply(self, image: UInt8Image) -> UInt8Image:
        """Match one patch."""
        return self.apply_counting(image)[0]

    def apply_counting(self, image: UInt8Image) -> tuple[UInt8Image, Histogram]:
        """Match one patch; its counts are at hand."""
        counts = count_values(image)
        if not _has_tissue(counts):
            return image, counts
        return apply_table(image, literal_table(counts, self.reference)), counts

    def to_json(self) -> dict[str, Any]:
        """Return the reference as lists."""
        return {"method": self.method, "reference": self.reference.tolist()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Take the reference back."""
        reference = counts_or_values(data["reference"])
        if not reference.any(axis=1).all():
            raise ValueError("a channel's counts are all nought")
        return cls(reference)


def literal_table(source: Histogram, reference: Histogram) -> StainTable:
    """Return the tables by which scikit-image matches a picture's histogram.

    Args:
        source: (3, 256) int64, the picture; no channel is empty.
        reference: (3, 256) int64; no channel is empty.

    Returns:
        (3, 256) uint8, non-decreasing. Fractions are cut off, as scikit-image does.
    """
    return np.stack([_match_channel(source[c], reference[c]) for c in range(3)])


def _match_channel(source: NDArray[np.int64], reference: NDArray[np.int64]) -> NDArray[np.uint8]:
    present = np.flatnonzero(reference)
    reached = np.cumsum(source) / source.sum()
    wanted = np.cumsum(reference[present]) / reference.sum()
    return np.asarray(np.interp(reached, wanted, present), np.float64).astype(np.uint8)


def _has_tissue(counts: Histogram) -> bool:
    dark = counts[:, : GLASS_VALUE + 1].sum(axis=1).max()
    return bool(dark >= MIN_TISSUE_SHARE * counts[0].sum() and dark > 0)
