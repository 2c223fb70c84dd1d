"""Halve a picture for the next coarser level of a pyramid."""

from __future__ import annotations

import numpy as np

from wsikit.types import UInt8Image


def halve_even(image: UInt8Image) -> UInt8Image:
    """Average every 2 x 2 pixels into one, halves up; an odd last row or column is dropped.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (H // 2, W // 2, 3) uint8.
    """
    height, width = image.shape[0] // 2, image.shape[1] // 2
    whole = image[: 2 * height, : 2 * width]
    pairs = whole[0::2].astype(np.uint16)
    pairs += whole[1::2]
    total = pairs[:, 0::2] + pairs[:, 1::2]
    return np.asarray((total + 2) >> 2, np.uint8)
