"""The entropy background filter of CN115482232A.

An 8-bit channel holds at most 8 bits, so the source's cut of 15 can only mean a sum over R, G and B
(0..24): about 5 bits a channel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsikit.compiled import compiled
from wsikit.types import UInt8Image

ENTROPY_CUT = 15.0
"""A patch whose summed entropy lies below this is background."""


def channel_entropy(image: UInt8Image) -> float:
    """Return the sum of the three channels' Shannon entropies.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        Bits, 0..24: per channel the entropy of its 256-bin histogram.
    """
    counts = [np.bincount(image[..., channel].ravel(), minlength=256) for channel in range(3)]
    return entropy_of_counts(np.stack(counts))


def entropy_of_counts(counts: NDArray[np.int64]) -> float:
    """Return the sum of the channels' Shannon entropies, from their histograms.

    Args:
        counts: (3, 256) int64, pixels by channel and value; not all zero.

    Returns:
        Bits, 0..24.
    """
    return float(_bits(counts))


@compiled
def _bits(counts: NDArray[np.int64]) -> float:
    total = 0.0
    for channel in range(counts.shape[0]):
        pixels = counts[channel].sum()
        for value in range(counts.shape[1]):
            if counts[channel, value]:
                share = counts[channel, value] / pixels
                total -= share * np.log2(share)
    return total
