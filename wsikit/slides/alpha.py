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
    opacity = alpha[..., None].astype(np.uint16)  # (H, W, 1)
    glass = 255 - opacity
    if premultiplied:
        laid = np.minimum(colour + glass, 255)
    else:
        laid = (colour * opacity + 127) // 255 + glass  # 255 * 255 + 127 fits uint16
    return np.asarray(laid, np.uint8)
