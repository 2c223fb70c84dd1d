"""Turn by any angle, zoom and shift a patch: what `turns` cannot do without resampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.transform import AffineTransform, warp

from wsikit.errors import ConfigError

Warps = NDArray[np.float64]
"""(N, 4): degrees anticlockwise, zoom (1 is none), shift along x and y as a share of the side."""

LIMITS = {"rotate": (0, 180), "zoom": (0, 0.5), "shift": (0, 0.5)}


@dataclass(frozen=True)
class WarpRange:
    """How far training patches may be moved; each is drawn uniformly, anew for each one.

    Attributes:
        rotate: degrees at most, from 0 to this, anticlockwise; flips make the other sense of it.
        zoom: share by which a patch is made larger or smaller at most.
        shift: share of the side by which it is moved at most, along x and y.

    Raises:
        ConfigError: one is out of range.
    """

    rotate: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(
                    f"train.patch.{name} is {value}", f"give a number from {least} to {most}"
                )

    @property
    def moves(self) -> bool:
        """Whether any patch is moved at all."""
        return bool(self.rotate or self.zoom or self.shift)

    def drawn(self, count: int, rng: np.random.Generator) -> Warps:
        """Draw the movements of patches; see `Warps`."""
        low = [0.0, 1 - self.zoom, -self.shift, -self.shift]
        high = [self.rotate, 1 + self.zoom, self.shift, self.shift]
        return rng.uniform(low, high, (count, 4))


NO_WARP = WarpRange()
"""Patches stay as they are."""


def warped(pixels: NDArray[Any], movement: NDArray[np.float64]) -> NDArray[Any]:
    """Move a patch about its centre, bilinear; what comes in from outside repeats the edge.

    Args:
        pixels: (H, W, C), any range.
        movement: (4,), a row of `Warps`.

    Returns:
        (H, W, C) of the same type; the very array where nothing moves.
    """
    degrees, zoom, right, down = (float(number) for number in movement)
    if (degrees, zoom, right, down) == (0.0, 1.0, 0.0, 0.0):
        return pixels
    height, width = pixels.shape[:2]
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    to_origin = AffineTransform(translation=-centre)
    # Image rows run downwards, so an anticlockwise turn has a negative angle.
    turn = AffineTransform(scale=zoom, rotation=-np.deg2rad(degrees))
    back = AffineTransform(translation=centre + np.array([right * width, down * height]))
    moved = warp(
        pixels, (to_origin + turn + back).inverse, order=1, mode="edge", preserve_range=True
    )
    whole = np.issubdtype(pixels.dtype, np.integer)
    return np.asarray(np.rint(moved) if whole else moved, pixels.dtype)
