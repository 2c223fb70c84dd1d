"""Judge the connected pieces of a mask, and its holes, by their area."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsikit.types import BoolMask

EIGHT = np.ones((3, 3), np.bool_)
"""Pixels that share a corner are one piece; holes are joined along edges only."""


def large_pieces(mask: BoolMask, least_px: float, seen: BoolMask | None = None) -> BoolMask:
    """Keep the pieces of a mask that are large enough.

    Args:
        mask: (h, w) bool.
        least_px: pixels a piece must have.
        seen: (h, w) bool, within `mask`; only these pixels of a piece count. All, where None.

    Returns:
        (h, w) bool.
    """
    counted = mask if seen is None else seen
    if np.count_nonzero(counted) < least_px:
        return np.zeros_like(mask)
    labels, pieces = ndimage.label(mask, EIGHT)
    kept = _areas(labels[counted], pieces) >= least_px
    kept[0] = False
    return np.asarray(kept[labels])


def fill_holes(mask: BoolMask, most_px: float) -> BoolMask:
    """Fill holes up to an area; what is open to the picture's edge is no hole.

    Args:
        mask: (h, w) bool.
        most_px: pixels a hole may have to be filled.

    Returns:
        (h, w) bool.
    """
    labels, holes = ndimage.label(~mask)
    filled = _areas(labels.ravel(), holes) <= most_px
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        filled[edge] = False
    filled[0] = True
    return np.asarray(filled[labels])


def _areas(labels: NDArray[np.int32], pieces: int) -> NDArray[np.int64]:
    return np.bincount(labels, minlength=pieces + 1)
