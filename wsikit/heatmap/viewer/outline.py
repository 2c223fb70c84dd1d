"""A known region's border as closed lines in the level-0 frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.measure import approximate_polygon, find_contours

from wsikit.heatmap.sheet import TruthOutline


def outline_rings(truth: TruthOutline) -> list[NDArray[np.float64]]:
    """Trace the mask.

    Args:
        truth: the region; its mask's corner is the origin of the level-0 frame.

    Returns:
        Closed rings, (K, 2) float64, x and y in level-0 px, true to half a mask pixel.
    """
    rim = np.pad(truth.mask, 1).astype(np.uint8)  # closes the line at the picture's edge
    rings = []
    for ring in find_contours(rim, 0.5):
        corners = approximate_polygon(ring, tolerance=0.25)
        # Contours run through centres of pixels: index 1 of the rim is the mask's first, at 0.5.
        rings.append((corners[:, ::-1] - 0.5) * np.array(truth.downsample))
    return rings
