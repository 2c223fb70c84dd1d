"""Where a patch lies: the arithmetic between the level-0 frame and the store's pixel grid.

The store's image has its origin at the slide's top left corner. Its pixel `i` covers the half-open
interval `[i * s, (i + 1) * s)` of the level-0 frame, `s` being store mpp / level-0 mpp, per axis.
Patch `(row, col)` is the square of `patch_px` store pixels whose corner is pixel
`(row * patch_px, col * patch_px)`. Exported level-0 coordinates are that corner rounded to the
nearest pixel (ties up), so neighbouring patches never overlap or leave a gap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from wsikit.types import Box, Mpp, Size

SAME_MPP = 0.02
"""Two mpp closer than this share are the same: pixels are used as they are, unresampled."""


def same_mpp(a: Mpp, b: Mpp) -> bool:
    """Tell whether two resolutions agree to within `SAME_MPP` along both axes."""
    return max(abs(a.x / b.x - 1), abs(a.y / b.y - 1)) <= SAME_MPP + 1e-9


def round_half_up(value: float) -> int:
    """Round to the nearest integer, halves up, so that equal steps give equal integers."""
    return math.floor(value + 0.5)


@dataclass(frozen=True)
class PatchGrid:
    """Lay a grid of patches over a slide, from its top left corner.

    Args:
        slide_px: (width, height) of the slide in level-0 pixels.
        scale: level-0 pixels per store pixel along x and y; 1.0 where the slide is not resampled.
        patch_px: side of a patch in store pixels; its width where it is not square.
        patch_height: its height in store pixels; None: a square. Pictures of a collection need
            not be square; what is tiled always is.
    """

    slide_px: Size
    scale: tuple[float, float]
    patch_px: int
    patch_height: int | None = None

    @property
    def patch_size(self) -> Size:
        """Width and height of a patch in store pixels."""
        return Size(self.patch_px, self.patch_height or self.patch_px)

    @property
    def image_px(self) -> Size:
        """Size of the store's image: every store pixel that touches the slide."""
        return Size(
            max(1, math.ceil(self.slide_px.width / self.scale[0] - 1e-6)),
            max(1, math.ceil(self.slide_px.height / self.scale[1] - 1e-6)),
        )

    @property
    def rows(self) -> int:
        """Number of patch rows, the last one possibly overhanging the slide."""
        return math.ceil(self.image_px.height / self.patch_size.height)

    @property
    def cols(self) -> int:
        """Number of patch columns, the last one possibly overhanging the slide."""
        return math.ceil(self.image_px.width / self.patch_px)

    def origin_l0(self, row: int, col: int) -> tuple[int, int]:
        """Return a patch's top left corner (x, y) in whole level-0 pixels."""
        return (
            round_half_up(col * self.patch_px * self.scale[0]),
            round_half_up(row * self.patch_size.height * self.scale[1]),
        )

    def side_l0(self) -> tuple[int, int]:
        """Return a patch's (width, height) in whole level-0 pixels."""
        return (
            round_half_up(self.patch_px * self.scale[0]),
            round_half_up(self.patch_size.height * self.scale[1]),
        )

    def region_l0(self, x_px: int, y_px: int, width_px: int, height_px: int) -> Box:
        """Return the exact level-0 box of a rectangle of store pixels."""
        sx, sy = self.scale
        return Box(x_px * sx, y_px * sy, width_px * sx, height_px * sy)
