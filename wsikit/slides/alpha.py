"""Lay a picture with transparency onto white."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsikit.types import UInt8Image


def onto_white(
    colour: UInt8Image, alpha: NDArray[np.uint8], *, premultiplied: bool = False
) -> UInt8Image:
    """Composite a picture on white glass.

    Args:
        colour: (H, W, 3) uint8 RGB.
        alpha: (H, W) uint8, 0 transparent, 255 opaque.
        premultiplied: whether `colour` is already multiplied by alpha.

    Returns:
        (H, W, 3) uint8 RGB, rounded to nearest.
    """
    if alpha.size == 0 or int(alpha.min()) == 255:
        return np.ascontiguousarray(colour)
    if np.count_nonzero(alpha) == np.count_nonzero(alpha == 255):  # nothing is half clear
        out, glass = np.empty_like(colour, order="C"), ~alpha
        for channel in range(3):
            np.bitwise_or(colour[..., channel], glass, out=out[..., channel])
        return out
    opacity = alpha[..., None].astype(np.uint16)  # (H, W, 1)
    clear = 255 - opacity
    if premultiplied:
        laid = np.minimum(colour + clear, 255)
    else:
        laid = (colour * opacity + 127) // 255 + clear  # 255 * 255 + 127 fits uint16
    return np.asarray(laid, np.uint8)
