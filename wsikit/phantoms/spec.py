"""What one phantom slide is: everything its pixels and its truth follow from."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from wsikit.errors import UsageError, nearest
from wsikit.phantoms.scanners import SCANNERS, Scanner
from wsikit.types import Mpp, Size

DEMO_SIZE = Size(3000, 2300)
"""(width, height) of a demo slide in level-0 pixels."""

DEMO_MPP = Mpp(0.5, 0.49)
"""Micrometres per pixel of a demo slide; x and y differ so that swapped axes show."""

MPP_RANGE = (0.1, 4.0)
"""Micrometres per pixel at which cells can still be drawn."""

MAX_SIDE_PX = 2_000_000

SLIDE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class PhantomSpec:
    """Describe one phantom; equal specs give equal bytes.

    Args:
        slide_id: the slide's name; letters, digits, `.`, `_` and `-`, so that it can name a file.
        size: (width, height) in level-0 pixels.
        mpp: micrometres per level-0 pixel along x and y.
        seed: decides where everything lies.
        tumour: whether the slide holds tumour.
        scanner: a name in `SCANNERS`.
        pen: whether somebody drew on the glass.
        patient_id: whose slide it is; slides of one patient are stained alike. Empty: the
            slide is its own patient.
        tumour_share: of the tissue of a slide with tumour, between 0 and 1; None: drawn.

    Raises:
        UsageError: a name that is unsafe or unknown, or a number out of range.
    """

    slide_id: str
    size: Size
    mpp: Mpp
    seed: int
    tumour: bool
    scanner: str
    pen: bool = False
    patient_id: str = ""
    tumour_share: float | None = None

    def __post_init__(self) -> None:
        if not SLIDE_ID.fullmatch(self.slide_id):
            raise UsageError(
                f"phantom slide_id {self.slide_id!r} cannot name a file",
                "use letters, digits, '.', '_' and '-', starting with a letter or digit",
            )
        if self.scanner not in SCANNERS:
            raise UsageError(f"unknown scanner '{self.scanner}'", nearest(self.scanner, SCANNERS))
        if not all(1 <= side <= MAX_SIDE_PX for side in self.size):
            raise UsageError(
                f"phantom '{self.slide_id}': size {tuple(self.size)} px is out of range",
                f"use 1..{MAX_SIDE_PX} px a side",
            )
        low, high = MPP_RANGE
        if not all(math.isfinite(mpp) and low <= mpp <= high for mpp in self.mpp):
            raise UsageError(
                f"phantom '{self.slide_id}': mpp {tuple(self.mpp)} is out of range",
                f"use {low:g}..{high:g} um/px",
            )

        if self.tumour_share is not None and not 0 < self.tumour_share < 1:
            raise UsageError(
                f"phantom '{self.slide_id}': a tumour share of {self.tumour_share} is out of range",
                "use a number between 0 and 1",
            )

    @property
    def optics(self) -> Scanner:
        """The scanner's colours."""
        return SCANNERS[self.scanner]

    @property
    def size_um(self) -> tuple[float, float]:
        """(width, height) of the slide in micrometres."""
        return (self.size.width * self.mpp.x, self.size.height * self.mpp.y)
