"""Sum a stored slide up in a few numbers: its stain, and its features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsikit.errors import StoreError
from wsikit.store.stored_slide import StoredSlide
from wsikit.tissue.rgb import bright
from wsikit.training.metrics.shift import Vector
from wsikit.types import Mpp, UInt8Image

LEAST_PX = 100
"""Thumbnail pixels of tissue, below which nothing is said of a slide's stain."""


@dataclass(frozen=True, eq=False)
class SlideStatistics:
    """Describe one slide.

    Attributes:
        patches: how many it has.
        mpp: its patches', um per px.
        stain: see `stain_vector`; None where the thumbnail does not tell.
        features: (D,) float64, mean over its patches; None where not asked for.
    """

    patches: int
    mpp: Mpp
    stain: Vector | None
    features: Vector | None


def slide_statistics(slide: StoredSlide, encoder_id: str | None) -> SlideStatistics:
    """Describe a stored slide that has patches.

    Args:
        slide: the slide.
        encoder_id: which features; None for none.

    Raises:
        StoreError: its index or features cannot be read.
    """
    features = None if encoder_id is None else mean_features(slide, encoder_id)
    return SlideStatistics(slide.patch_count, slide.mpp, stain_vector(slide), features)


def mean_features(slide: StoredSlide, encoder_id: str) -> Vector:
    """Return the mean of a slide's features, (D,) float64, holding one block of them at a time."""
    total = np.zeros(slide.feature_width(encoder_id))
    for block in slide.feature_blocks(encoder_id):
        total += block.sum(axis=0, dtype=np.float64)
    return total / max(1, slide.patch_count)


def stain_vector(slide: StoredSlide) -> Vector | None:
    """Return the mean and the spread over patches of the tissue's optical density.

    It is taken from the thumbnail, which is as the scanner gave it, whatever normalisation did to
    the patches; and from the mean colour of each kept patch's tissue, so that it does not depend
    on how finely the thumbnail shows the slide. Tissue is what is not bright in all channels.

    Returns:
        (6,) float64, densities to base 10 of R, G, B: three means, then three standard deviations.
        None where the thumbnail shows too little tissue, as that of a slide ingested without its
        file, or is damaged.
    """
    try:
        image = slide.thumbnail()
    except StoreError:
        return None
    colours = _patch_colours(image, _cells(slide, image))
    if colours is None:
        return None
    density = -np.log10((colours + 1) / 256)
    return np.concatenate([density.mean(axis=0), density.std(axis=0)])


def _cells(slide: StoredSlide, image: UInt8Image) -> NDArray[np.int64]:
    """Return the number of the kept patch that each thumbnail pixel's centre lies in, else -1."""
    grid, (scale_x, scale_y) = slide.grid, slide.thumbnail_scale
    number = np.full((grid.rows, grid.cols), -1, np.int64)
    number[slide.patches.row, slide.patches.col] = np.arange(slide.patch_count)
    side_x, side_y = (side * part for side, part in zip(grid.patch_size, grid.scale, strict=True))
    rows = ((np.arange(image.shape[0]) + 0.5) * scale_y / side_y).astype(np.int64)
    cols = ((np.arange(image.shape[1]) + 0.5) * scale_x / side_x).astype(np.int64)
    return number[np.minimum(rows, grid.rows - 1)[:, None], np.minimum(cols, grid.cols - 1)]


def _patch_colours(image: UInt8Image, cells: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Return the mean colour of the tissue of each patch that shows some, (P, 3), 0..255."""
    seen = (cells >= 0) & ~bright(image)
    if np.count_nonzero(seen) < LEAST_PX:
        return None
    number, pixels = cells[seen], image[seen]
    counts = np.bincount(number)
    sums = np.stack([np.bincount(number, weights=pixels[:, c]) for c in range(3)], axis=1)
    return np.asarray(sums[counts > 0] / counts[counts > 0, None])
