"""Fit a slide's stain table on a sample of its tissue.

The sample is read at the store's own resolution. A coarse level would be cheaper still, but
averaging narrows a histogram, and pyramids are built in different ways: two files of the same
slide, one without a pyramid, got tables up to 50 grey levels apart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsikit.config import TileConfig
from wsikit.geometry import PatchGrid
from wsikit.slides.overview import read_overview
from wsikit.slides.slide import Slide
from wsikit.stain.histogram import (
    Histogram,
    StainTable,
    identity_table,
    matching_table,
    tissue_histogram,
)
from wsikit.stain.reference import load_reference
from wsikit.tissue.rgb import bright
from wsikit.types import Mpp

SAMPLE_PATCHES = 32
"""How many squares of tissue are looked at, spread evenly over the slide's tissue."""

SAMPLE_PX = 512
"""Side of a square, in store px."""

FIND_MPP = 16.0
"""Resolution at which tissue is looked for, in um per px."""


def fit_stain_table(slide: Slide, grid: PatchGrid, config: TileConfig) -> StainTable:
    """Return the (3, 256) uint8 table that normalises a slide.

    Args:
        slide: an open slide.
        grid: its patch grid, for the resolution.
        config: method, reference and what counts as bright.
    """
    if config.stain.method == "none":
        return identity_table()
    histogram = sample_histogram(slide, grid, config)
    return matching_table(histogram, load_reference(config.stain.reference))


def sample_histogram(slide: Slide, grid: PatchGrid, config: TileConfig) -> Histogram:
    """Count the values of tissue pixels in squares spread evenly over the tissue."""
    squares = PatchGrid(grid.slide_px, grid.scale, SAMPLE_PX)
    own = slide.mpp
    mpp = Mpp(own.x * grid.scale[0], own.y * grid.scale[1])
    histogram: Histogram = np.zeros((3, 256), np.int64)
    for row, col in _tissue_squares(slide, squares, config):
        box = squares.region_l0(col * SAMPLE_PX, row * SAMPLE_PX, SAMPLE_PX, SAMPLE_PX)
        pixels = slide.read(box, mpp)
        tissue = ~bright(pixels, config.rgb.threshold, config.rgb.rule)
        histogram += tissue_histogram(pixels, tissue)
    return histogram


def _tissue_squares(slide: Slide, squares: PatchGrid, config: TileConfig) -> NDArray[np.int64]:
    """Return (K, 2) row and column of at most `SAMPLE_PATCHES` squares that hold tissue."""
    overview, scale = read_overview(slide, FIND_MPP)
    tissue = ~bright(overview, config.rgb.threshold, config.rgb.rule)
    y, x = np.nonzero(tissue)
    rows = ((y + 0.5) * scale[1] / squares.scale[1] // SAMPLE_PX).astype(np.int64)
    cols = ((x + 0.5) * scale[0] / squares.scale[0] // SAMPLE_PX).astype(np.int64)
    places, counts = np.unique(np.stack([rows, cols], axis=1), axis=0, return_counts=True)
    if not len(places):
        return np.zeros((0, 2), np.int64)
    places = places[counts >= 0.25 * counts.max()]
    chosen = np.linspace(0, len(places) - 1, min(SAMPLE_PATCHES, len(places)))
    return np.asarray(places[np.unique(chosen.round().astype(np.int64))])
