"""The eight ways to lay a square down: four quarter turns, each as it is or flipped."""

from __future__ import annotations

import numpy as np

from wsikit.types import UInt8Image

TURNS = 8


def turned(pixels: UInt8Image, turn: int) -> UInt8Image:
    """Turn and flip a patch. No pixel is resampled, so it can be undone to the byte.

    A patch that is not square keeps its shape: it is turned by half turns in place of quarters.

    Args:
        pixels: (H, W, 3).
        turn: 0 to 7; its rest by 4 is how often the patch is turned by 90 degrees anticlockwise,
            and from 4 on it is then flipped left to right. 0 leaves it as it is.

    Returns:
        (H, W, 3), a view where possible.
    """
    height, width = pixels.shape[:2]
    quarters = turn % 4 if height == width else 2 * (turn % 2)
    rotated = np.rot90(pixels, quarters)
    return rotated[:, ::-1] if turn >= 4 else rotated
