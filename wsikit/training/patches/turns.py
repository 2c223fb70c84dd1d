"""The eight ways to lay a square down: four quarter turns, each as it is or flipped."""

from __future__ import annotations

import numpy as np

from wsikit.types import UInt8Image

TURNS = 8


def turned(pixels: UInt8Image, turn: int) -> UInt8Image:
    """Turn and flip a patch. No pixel is resampled, so it can be undone to the byte.

    Args:
        pixels: (S, S, 3) uint8.
        turn: 0 to 7; its rest by 4 is how often the patch is turned by 90 degrees anticlockwise,
            and from 4 on it is then flipped left to right. 0 leaves it as it is.

    Returns:
        (S, S, 3) uint8, a view where possible.
    """
    quarter = np.rot90(pixels, turn % 4)
    return quarter[:, ::-1] if turn >= 4 else quarter
