"""Look at a slide coarsely, and find the patches whose pixels are worth reading.

Decoding glass at full resolution costs as much as decoding tissue. So whatever a filter can tell
from an overview it tells here, once a slide, and only the patches that are left are read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsikit.config import TileConfig
from wsikit.errors import SlideError
from wsikit.geometry import PatchGrid
from wsikit.slides.overview import read_overview
from wsikit.slides.slide import DAMAGED, Slide
from wsikit.stages.tiling.judge import judge
from wsikit.store.decisions import KEPT, REASONS, Decisions
from wsikit.tissue.rgb import bright, rgb_foreground
from wsikit.tissue.shares import foreground_shares
from wsikit.tissue.tissue_mask import TissueSettings, tissue_mask
from wsikit.types import BoolMask, Box, FloatArray, Mpp

RGB_MAX_PX = 8192
"""Longest side of the overview for the RGB filter; a larger slide is looked at more coarsely."""


@dataclass(frozen=True)
class Survey:
    """What is known of a slide before its patches are read.

    Attributes:
        tissue: (h, w) bool, the tissue filter's mask.
        scale: level-0 px per pixel of `tissue`, along x and y.
        shares: (rows, cols) float32 by mask filter that looks at an overview; always `tissue`.
        decisions: patches that are `kept` here are still to be judged by their pixels.
    """

    tissue: BoolMask
    scale: tuple[float, float]
    shares: dict[str, FloatArray]
    decisions: Decisions


def survey_slide(
    slide: Slide, grid: PatchGrid, config: TileConfig, in_region: BoolMask | None = None
) -> Survey:
    """Apply to a whole slide the filters that look at an overview.

    Where the overview cannot be decoded, tissue is assumed: reading the patch itself decides.

    Args:
        slide: an open slide.
        grid: its patch grid.
        config: the filters.
        in_region: (rows, cols) bool, the patches that regions drawn by hand leave; None: all.

    Raises:
        SlideError: most of the overview cannot be decoded.
    """
    tissue, scale = _tissue(slide, config)
    shares = {"tissue": foreground_shares(tissue, scale, grid)}
    if "rgb" in config.filters and config.rgb.mpp is not None:
        shares["rgb"] = foreground_shares(*_rgb_coarse(slide, config), grid)
    foreground, reason = judge(config, shares)
    if in_region is not None:
        reason[~in_region & (reason == KEPT)] = REASONS.index("region")
    entropy = np.full(reason.shape, np.nan, np.float32)
    return Survey(tissue, scale, shares, Decisions(foreground, entropy, reason))


def _tissue(slide: Slide, config: TileConfig) -> tuple[BoolMask, tuple[float, float]]:
    with slide.tolerating_damage() as damaged:
        image, scale = read_overview(slide, config.tissue.mpp)
    _refuse_ruin(slide, damaged)
    own = slide.mpp
    asked = config.tissue
    settings = TissueSettings(asked.stain, asked.min_piece_um2, asked.max_hole_um2, asked.pen)
    mask = tissue_mask(image, Mpp(own.x * scale[0], own.y * scale[1]), settings)
    return _with_boxes(mask, scale, damaged), scale


def _refuse_ruin(slide: Slide, damaged: Sequence[Box]) -> None:
    """Raise SlideError where most of the overview cannot be decoded: it tells nothing then."""
    share = sum(box.width * box.height for box in damaged) / math.prod(slide.size_l0)
    if share > 0.5:
        raise SlideError(f"{slide.path.name}: {min(share, 1):.0%} of it cannot be decoded", DAMAGED)


def _rgb_coarse(slide: Slide, config: TileConfig) -> tuple[BoolMask, tuple[float, float]]:
    """Apply the RGB filter to an overview, its window shrunk alike."""
    with slide.tolerating_damage() as damaged:
        image, scale = read_overview(slide, config.rgb.mpp or 0.0, RGB_MAX_PX)
    window = max(1, round(config.rgb.window / max(scale)))
    mask = rgb_foreground(bright(image, config.rgb.threshold, config.rgb.rule), window)
    return _with_boxes(mask, scale, damaged), scale


def _with_boxes(mask: BoolMask, scale: tuple[float, float], boxes: Sequence[Box]) -> BoolMask:
    """Mark boxes of the level-0 frame in a mask."""
    for box in boxes:
        top, left = math.floor(box.y / scale[1]), math.floor(box.x / scale[0])
        bottom = math.ceil((box.y + box.height) / scale[1])
        mask[top:bottom, left : math.ceil((box.x + box.width) / scale[0])] = True
    return mask
