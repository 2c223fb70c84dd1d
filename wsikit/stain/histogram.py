"""Histogram matching, once a slide: three 256-entry look-up tables.

The source (CN115409783A) matches histograms to a reference. Matching each patch alone would turn a
patch of pure stroma into the reference's mix of nuclei and stroma; we match the histogram of the
slide's *tissue* and apply one table to all its patches. Departure: the matching holds between the
0.1 and 95 percentiles of the slide's tissue; beyond them the table runs straight to 0 and 255, so
that glass inside a patch stays white and is not drawn into the tissue's range. (With 99.9 in place
of 95, glass came out a visible grey-green: the palest "tissue" pixels are its rim on glass.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from wsikit.stain.json_numbers import counts_or_values
from wsikit.stain.lookup import (
    Histogram,
    StainTable,
    apply_table,
    apply_table_counting,
    count_where,
)
from wsikit.stain.normaliser import Normaliser
from wsikit.stain.reference import Reference
from wsikit.stain.sample import MIN_TISSUE_PX, StainSample
from wsikit.types import BoolMask, UInt8Image

__all__ = [
    "MATCHED",
    "MIN_TISSUE_PX",
    "Histogram",
    "HistogramNormaliser",
    "StainTable",
    "apply_table",
    "identity_table",
    "inverse_table",
    "matching_table",
    "tissue_histogram",
]

MATCHED = (0.001, 0.95)
"""The quantiles of tissue between which the matching holds, in each channel."""


@dataclass(frozen=True, eq=False)
class HistogramNormaliser(Normaliser):
    """Apply one table a channel to every patch of a slide.

    Args:
        table: (3, 256) uint8.
    """

    method: ClassVar[str] = "histogram"
    table: StainTable

    @classmethod
    def fit(cls, sample: StainSample, reference: Reference) -> Self:
        """Match the slide's tissue to the reference."""
        return cls(matching_table(sample.histogram, reference.histogram))

    def apply(self, image: UInt8Image) -> UInt8Image:
        """Look every pixel up in the slide's tables."""
        return apply_table(image, self.table)

    def apply_counting(self, image: UInt8Image) -> tuple[UInt8Image, Histogram]:
        """Look every pixel up and count what it was, in one pass."""
        return apply_table_counting(image, self.table)

    def to_json(self) -> dict[str, Any]:
        """Return the table as lists."""
        return {"method": self.method, "table": self.table.tolist()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Take the table back."""
        return cls(counts_or_values(data["table"], 255).astype(np.uint8))


def tissue_histogram(image: UInt8Image, tissue: BoolMask) -> Histogram:
    """Count the values of the tissue pixels, channel by channel.

    Args:
        image: (H, W, 3) uint8.
        tissue: (H, W) bool.

    Returns:
        (3, 256) int64.
    """
    return count_where(image, tissue)


def identity_table() -> StainTable:
    """Return the table that changes nothing."""
    return np.tile(np.arange(256, dtype=np.uint8), (3, 1))


def matching_table(source: Histogram, reference: Histogram) -> StainTable:
    """Return the tables that give `source` the histogram of `reference`.

    Args:
        source: (3, 256) int64, the slide's tissue.
        reference: (3, 256) int64.

    Returns:
        (3, 256) uint8, non-decreasing, 0 -> 0 and 255 -> 255. The identity where the source holds
        fewer than `MIN_TISSUE_PX` pixels.
    """
    if source[0].sum() < MIN_TISSUE_PX:
        return identity_table()
    return np.stack([_match_channel(source[c], reference[c]) for c in range(3)])


def _match_channel(source: NDArray[np.int64], reference: NDArray[np.int64]) -> NDArray[np.uint8]:
    values = np.arange(256)
    cumulative = np.cumsum(source) / source.sum()
    present = reference > 0
    wanted = np.cumsum(reference)[present] / reference.sum()
    matched = np.interp(cumulative, wanted, values[present])
    low = int(np.searchsorted(cumulative, MATCHED[0]))
    high = int(np.searchsorted(cumulative, MATCHED[1]))
    matched[: low + 1] = np.interp(values[: low + 1], [0, low], [0, matched[low]])
    matched[high:] = np.interp(values[high:], [high, 255], [matched[high], 255])
    matched[0], matched[255] = 0, 255
    return np.asarray(np.round(matched), dtype=np.uint8)


def inverse_table(table: StainTable) -> StainTable:
    """Return the tables that undo `table` as far as that can be.

    A value that several source values became goes back to their mean; one that none became, to
    what lies between its neighbours. Value `v` therefore comes back with an error of
    `abs(inverse[c][table[c][v]] - v)`: nought where the table stretches, and at most half the run
    of values that it merged. JPEG's own loss comes on top of it.

    Args:
        table: (3, 256) uint8, non-decreasing.

    Returns:
        (3, 256) uint8, non-decreasing.
    """
    return np.stack([_invert_channel(channel) for channel in table])


def _invert_channel(channel: NDArray[np.uint8]) -> NDArray[np.uint8]:
    values = np.arange(256)
    became = np.bincount(channel, minlength=256)
    made = became > 0
    mean = np.bincount(channel, weights=values, minlength=256)[made] / became[made]
    return np.asarray(np.round(np.interp(values, values[made], mean)), dtype=np.uint8)
