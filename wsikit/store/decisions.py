"""What became of every patch of a slide's grid, and by which numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsikit.types import FloatArray

REASONS: tuple[str, ...] = ("kept", "tissue", "rgb", "entropy", "blur", "region", "damaged")
"""A patch is kept, or dropped by the filter named; its code in the store is the place in here."""

KEPT = REASONS.index("kept")


@dataclass(frozen=True)
class Decisions:
    """Hold one decision a patch of the whole grid, background too.

    Attributes:
        foreground: (rows, cols) float32, share of foreground pixels, 0..1; NaN where not computed.
        entropy: (rows, cols) float32, bits, 0..24; NaN where not computed.
        reason: (rows, cols) uint8, index into `REASONS`.

    Raises:
        ValueError: the arrays do not belong together, or a code has no meaning.
    """

    foreground: FloatArray
    entropy: FloatArray
    reason: NDArray[np.uint8]

    def __post_init__(self) -> None:
        shapes = {self.foreground.shape, self.entropy.shape, self.reason.shape}
        if len(shapes) != 1 or self.reason.ndim != 2:
            raise ValueError(f"decisions of shapes {sorted(shapes)} are not one (rows, cols)")
        if self.reason.size and int(self.reason.max()) >= len(REASONS):
            raise ValueError(f"reason {int(self.reason.max())} has no meaning")

    def counts(self) -> dict[str, int]:
        """Count the patches of each reason, all of `REASONS` in their order."""
        numbers = np.bincount(self.reason.ravel(), minlength=len(REASONS))
        return {name: int(count) for name, count in zip(REASONS, numbers, strict=True)}
