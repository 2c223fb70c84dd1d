"""Find the breast in a mammogram: background, labels and the edges of the film are not it.

Films are scanned with what lies around them: letters, bright or dark borders, noise in the black.
The breast is the largest bright piece that is left where narrow things are taken away.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from wsikit.types import BoolMask, Box, FloatArray

LOOKED_AT_PX = 512
"""Longest side at which the breast is looked for; its outline needs no more."""

BORDER = 0.06
"""Share of a side, at each end, in which a border of the film may lie."""

LINE = 0.8
"""Share of a line that is bright where the line is a border of the film."""

NARROW = 0.06
"""Share of the longest side; what is narrower is a label, a scratch or an edge."""

SMALLEST = 0.02
"""Share of the picture below which the largest bright piece is no breast."""


def breast_mask(image: NDArray[Any]) -> BoolMask:
    """Mark the breast, its muscle included, as one piece without holes.

    Args:
        image: (H, W), grey of any depth, bright where tissue is; MONOCHROME1 must be inverted.

    Returns:
        (H, W) bool; nothing where no breast is seen. Its outline is as fine as the picture at
        `LOOKED_AT_PX`.
    """
    small, step = _small(image)
    mask = _largest_piece(_bright(small))
    height, width = image.shape
    return np.asarray(np.kron(mask, np.ones((step, step), np.bool_))[:height, :width])


def mask_box(mask: BoolMask) -> Box | None:
    """Return the box around all that is marked, in px of the mask; None where nothing is."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    left, top = int(cols[0]), int(rows[0])
    return Box(left, top, int(cols[-1]) + 1 - left, int(rows[-1]) + 1 - top)


def _small(image: NDArray[Any]) -> tuple[FloatArray, int]:
    """Return the picture in 0..1 with its sides divided by a whole number, by means of squares."""
    step = max(1, -(-max(image.shape) // LOOKED_AT_PX))
    padding = [(0, -side % step) for side in image.shape]
    padded = np.pad(image, padding, mode="edge").astype(np.float32)
    rows, cols = (side // step for side in padded.shape)
    small = padded.reshape(rows, step, cols, step).mean(axis=(1, 3))
    low, high = float(small.min()), float(small.max())
    return np.asarray((small - low) / max(high - low, 1e-6), np.float32), step


def _bright(small: FloatArray) -> BoolMask:
    """Mark what is no background, and take the film's borders away.

    Otsu's cut parts tissue from all else only where both are of one brightness; half of it lies
    between the black of a film and the faintest fat. It is taken of the root, in which fat weighs
    more than the few bright labels.
    """
    smooth = ndimage.gaussian_filter(np.sqrt(small), 1.0)
    inner = smooth[tuple(slice(round(BORDER * n), n - round(BORDER * n)) for n in smooth.shape)]
    otsu = float(threshold_otsu(inner))
    bright = np.asarray(smooth > 0.5 * (otsu + float(np.percentile(inner, 1))))
    _clear_borders(bright)
    _clear_borders(bright.T)
    return bright


def _clear_borders(bright: BoolMask) -> None:
    """Clear rows near both ends up to the innermost that is bright almost from side to side.

    A row that a breast fills is not: where the rows behind it are filled too, nothing is cleared.
    """
    reach = round(BORDER * len(bright))
    for rows in (bright, bright[::-1]):
        full = rows.mean(axis=1) >= LINE
        if reach and full[:reach].any() and not full[reach : 2 * reach].any():
            rows[: int(np.flatnonzero(full[:reach])[-1]) + 1] = False


def _largest_piece(bright: BoolMask) -> BoolMask:
    """Return the largest piece that is left without what is narrow, its holes filled."""
    radius = max(1, round(NARROW * max(bright.shape) / 2))
    # Mirrored: the breast goes on beyond the picture, and a strip along its edge stays narrow.
    padded = np.pad(bright, 2 * radius, mode="symmetric")
    around = ndimage.distance_transform_edt(padded) > radius
    pieces, count = ndimage.label(around)
    if not count:
        return np.zeros_like(bright)
    core = slice(2 * radius, -2 * radius)
    sizes = np.bincount(pieces[core, core].ravel(), minlength=count + 1)
    sizes[0] = 0
    largest = pieces == int(sizes.argmax())
    opened = ndimage.distance_transform_edt(~largest) <= radius
    piece = ndimage.binary_fill_holes(opened)[core, core] & True
    if piece.mean() < SMALLEST:
        return np.zeros_like(bright)
    return np.asarray(piece)
