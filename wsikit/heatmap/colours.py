"""The colours that are laid over tissue, chosen for colour-blind readers and pink-purple H&E."""

from __future__ import annotations

from functools import cache

import matplotlib
import numpy as np
from numpy.typing import NDArray

from wsikit.types import UInt8Image

HEAT_MAP = "viridis"
"""Perceptually uniform, safe for colour-blind readers, and read best over H&E of those tried.

Stained tissue holds no green and no yellow, so middle and high scores stand out. Over the same
slide cividis turned middle scores into the grey of pale stroma, and inferno's low end hid nuclei.
"""

HEAT_MAPS: tuple[str, ...] = ("viridis", "cividis", "magma", "inferno", "plasma")
"""What may be chosen: lightness rises evenly from the lowest score to the highest, so that order
is seen by every reader, and on a grey print.
"""

OKABE_ITO: tuple[tuple[int, int, int], ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (0, 0, 0),
)
"""Eight categorical colours that colour-blind readers tell apart (Okabe and Ito 2008)."""


@cache
def heat_lut(name: str = HEAT_MAP) -> UInt8Image:
    """Return the colour of each of 256 steps, (256, 3) uint8, low to high."""
    steps = matplotlib.colormaps[name](np.arange(256), bytes=True)
    lut = np.ascontiguousarray(steps[:, :3], np.uint8)
    lut.setflags(write=False)
    return lut


def heat(values: NDArray[np.floating], name: str = HEAT_MAP) -> UInt8Image:
    """Colour values.

    Args:
        values: floats in 0..1, any shape.
        name: one of `HEAT_MAPS`.

    Returns:
        uint8 RGB, the same shape with a last axis of 3.
    """
    steps = np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)
    return np.asarray(heat_lut(name)[steps], np.uint8)
