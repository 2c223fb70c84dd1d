"""The modern tissue filter: stain against glass, on an overview of the slide."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import ndimage

from wsikit.tissue.glass import glass_colour, missing, optical_density
from wsikit.tissue.pen import pen_marks
from wsikit.tissue.pieces import fill_holes, large_pieces
from wsikit.tissue.strips import mask_by_strips
from wsikit.types import BoolMask, FloatArray, UInt8Image

SMOOTH_UM = 8.0
"""Standard deviation of the blur that takes camera and JPEG noise out of the overview."""

LEAST_SATURATION = 0.2
"""Spread of a pixel's densities over the densest: less is grey, whatever the amount.

Dust, shadows, bubbles, cracked mounting medium, slide edges and black ink are grey.
"""

SPECK_SHARE = 0.01
"""A piece that covers this share of the picture is no speck: crops can be small."""


@dataclass(frozen=True)
class TissueSettings:
    """What counts as tissue.

    Args:
        stain: least difference of optical density (base 10) between two channels, after smoothing.
            Glass and everything grey have none.
        min_piece_um2: a smaller piece is a speck and dropped.
        max_hole_um2: a hole up to this size belongs to the tissue around it (lumens, fat cells);
            a larger one stays background.
        pen: whether ink is dropped.
        min_pen_um2: a smaller patch of ink is left alone.
    """

    stain: float = 0.03
    min_piece_um2: float = 4_000.0
    max_hole_um2: float = 20_000.0
    pen: bool = True
    min_pen_um2: float = 10_000.0


def tissue_mask(
    image: UInt8Image, mpp: tuple[float, float], settings: TissueSettings | None = None
) -> BoolMask:
    """Tell tissue from glass.

    The colour of the slide's own glass is found first. A pixel is stained if its optical densities
    against that glass differ between channels: haematoxylin, eosin, DAB do so at any thickness,
    shadow, dust and dirt at none. The cut is fixed and not Otsu's, which splits noise on an empty
    slide and cuts the tissue itself in two wherever there is pale and dense tissue (see
    `docs/filters.md`). Then ink is taken out, holes filled and specks dropped.

    Args:
        image: (h, w, 3) uint8, an overview of the whole slide, best at about 8 um per pixel.
        mpp: um per pixel of `image` along x and y.
        settings: what counts; the defaults where None.

    Returns:
        (h, w) bool, true where tissue.
    """
    settings = settings or TissueSettings()
    pixel_um2 = mpp[0] * mpp[1]
    density = optical_density(image, glass_colour(image))
    for channel in range(3):
        sigma = (SMOOTH_UM / mpp[1], SMOOTH_UM / mpp[0])
        density[channel] = ndimage.gaussian_filter(density[channel], sigma)
    mask = mask_by_strips(partial(_is_stained, least=settings.stain), density)
    mask &= ~missing(image)
    ink = pen_marks(density, mpp, settings.min_pen_um2) if settings.pen else np.zeros_like(mask)
    least_px = min(settings.min_piece_um2 / pixel_um2, SPECK_SHARE * mask.size)
    mask = large_pieces(mask & ~ink, least_px)
    return fill_holes(mask, settings.max_hole_um2 / pixel_um2) & ~ink


def _is_stained(density: FloatArray, least: float) -> BoolMask:
    high = density.max(axis=0)
    spread = high - density.min(axis=0)
    return np.asarray((spread > least) & (spread > LEAST_SATURATION * high))
