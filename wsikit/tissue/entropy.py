"""The entropy background filter of CN115482232A.

An 8-bit channel holds at most 8 bits, so the source's cut of 15 can only mean a sum over R, G and B
(0..24): about 5 bits a channel.
"""

from __future__ import annotations

import numpy as np

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
    total = 0.0
    for channel in range(3):
        counts = np.bincount(image[..., channel].ravel(), minlength=256)
        share = counts[counts > 0] / counts.sum()
        total -= float((share * np.log2(share)).sum())
    return abs(total)
