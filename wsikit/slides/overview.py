"""Read a whole slide coarsely, in bounded memory."""

from __future__ import annotations

import math

import numpy as np

from wsikit.slides.slide import Slide
from wsikit.types import Box, Mpp, UInt8Image

OVERVIEW_MAX_PX = 4096
"""Longest side an overview has by default."""

STRIP_PX = 16_000_000
"""Source pixels that are read at a time."""


def read_overview(
    slide: Slide, mpp: float, max_px: int = OVERVIEW_MAX_PX
) -> tuple[UInt8Image, tuple[float, float]]:
    """Read a whole slide coarsely, strip by strip, so that a slide without a pyramid fits too.

    Args:
        slide: an open slide.
        mpp: wanted micrometres per pixel; coarser where the picture would exceed `max_px`, level 0
            where the slide itself is coarser.
        max_px: longest side the picture may have.

    Returns:
        (h, w, 3) uint8, and level-0 px per pixel along x and y.
    """
    size, own = slide.size_l0, slide.mpp
    wanted = max(mpp, max(size.width * own.x, size.height * own.y) / max_px)
    target = Mpp(wanted, wanted) if wanted > max(own) else own
    scale = slide.scale_to(target)
    target = Mpp(own.x * scale[0], own.y * scale[1])
    width = math.ceil(size.width / scale[0] - 1e-6)
    height = math.ceil(size.height / scale[1] - 1e-6)
    level = slide.levels[slide.level_for(scale)]
    row_cost = level.size.width * scale[1] / level.downsample[1]
    strip = max(1, int(STRIP_PX / row_cost))
    rows = [
        slide.read(
            Box(0, y * scale[1], width * scale[0], min(strip, height - y) * scale[1]), target
        )
        for y in range(0, height, strip)
    ]
    return np.concatenate(rows), scale
