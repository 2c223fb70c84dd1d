"""Array and point types shared by every layer.

Arrays are `(y, x)`; points and sizes are `(x, y)` or `(width, height)`. The suffix of a name gives
its frame and unit: `_l0` level-0 pixels, `_px` pixels of the image at hand, `_um` micrometres.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

UInt8Image = NDArray[np.uint8]
"""An RGB image, (H, W, 3) uint8."""

PatchPixels = NDArray[Any]
"""A stored patch: (H, W, 3) uint8 RGB, or (H, W, 1) uint16 grey."""

BoolMask = NDArray[np.bool_]
"""A mask, (H, W) bool."""

FloatArray = NDArray[np.float32]
"""A float32 array of any shape."""

ScoreKind = Literal["probability", "attention"]
"""What a patch score means: a class probability, or a share of attention that sums to one."""

ScoreScale = Literal["auto", "raw", "percentile"]
"""How a patch score is shown: as its kind asks for, as it is, or as its percentile in the slide."""


class Size(NamedTuple):
    """A width and height in pixels."""

    width: int
    height: int


class Mpp(NamedTuple):
    """Micrometres per pixel along x and y."""

    x: float
    y: float


class Box(NamedTuple):
    """A half-open rectangle `[x, x + width) x [y, y + height)` in level-0 pixels.

    Edges may be fractional: they say where a patch's square lies, not which pixels it touches.
    """

    x: float
    y: float
    width: float
    height: float
