"""Find marks of a felt-tip pen, and ink at a specimen's margin, by their hue.

The cuts below stand between inks and the tissue of six real slides, 46 cores and 64 fields of view
at 4 to 29 um per px; `docs/filters.md` has the figures.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy import ndimage

from wsikit.tissue.pieces import large_pieces
from wsikit.tissue.strips import mask_by_strips
from wsikit.types import BoolMask, FloatArray

COLD = ((1.25, 0.2), (0.85, 0.6))
"""Blue and green ink: density of red over density of green, and density of red, at least.

Haematoxylin takes away as much green as red, and eosin far more. Ink lets green pass, or is navy,
which takes away nearly all red.
"""

COLD_RIM = ((1.1, 0.05), (0.9, 0.3))
"""The same for what touches such a mark and belongs to it: its thin rim, and ink over tissue."""

RED = ((0.4, 0.35, 0.85), (0.6, 0.2, 0.7))
"""Red ink: density of green at least, red over green at most, blue over green at least.

Eosin and blood let blue pass, or are less pure. Paler red ink has the hue of blood, and stays.
"""

YELLOW = (0.2, 2.0)
"""Yellow and orange ink: density of blue at least, and over green at least; DAB has 1.4."""

BLACK = (0.3, 0.25)
"""Black ink: density of every channel at least, and their spread over the densest at most.

Tissue has a colour: its spread is 0.27 and more.
"""

GROW_UM = 24.0
"""A mark is widened by this much, for its faint rim."""


def pen_marks(density: FloatArray, mpp: tuple[float, float], least_um2: float) -> BoolMask:
    """Mark ink: connected patches of a hue that neither haematoxylin nor eosin has.

    Purple ink has haematoxylin's hue and is not found.

    Args:
        density: (3, h, w) float32, optical density of R, G and B against glass.
        mpp: um per pixel along x and y.
        least_um2: a smaller patch is left alone; single nuclei can have any hue.

    Returns:
        (h, w) bool.
    """
    least_px = least_um2 / (mpp[0] * mpp[1])
    strong = mask_by_strips(partial(_is_cold, rules=COLD), density)
    weak = mask_by_strips(partial(_is_cold, rules=COLD_RIM), density)
    marks = large_pieces(strong | weak, least_px, seen=strong)
    for rule in (_is_warm, _is_black):
        marks |= large_pieces(mask_by_strips(rule, density), least_px)
    grow = tuple(2 * round(GROW_UM / side) + 1 for side in reversed(mpp))
    return np.asarray(ndimage.maximum_filter(marks, grow)) if marks.any() else marks


def _is_cold(density: FloatArray, rules: tuple[tuple[float, float], ...]) -> BoolMask:
    red, green, _ = density
    return _any([(red > least) & (red > over * green) for over, least in rules])


def _is_warm(density: FloatArray) -> BoolMask:
    red, green, blue = density
    inks = [
        (green > least) & (red < most_red * green) & (blue > least_blue * green)
        for least, most_red, least_blue in RED
    ]
    return _any([*inks, (blue > YELLOW[0]) & (blue > YELLOW[1] * green)])


def _is_black(density: FloatArray) -> BoolMask:
    least, most_spread = BLACK
    low, high = density.min(axis=0), density.max(axis=0)
    return np.asarray((low > least) & (high - low < most_spread * high))


def _any(masks: list[BoolMask]) -> BoolMask:
    return np.asarray(np.logical_or.reduce(masks))
