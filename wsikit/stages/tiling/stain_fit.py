"""Fit a slide's stain normalisation on a sample of its tissue.

The sample is read at the store's own resolution. A coarse level would be cheaper still, but
averaging narrows a histogram, and pyramids are built in different ways: two files of the same
slide, one without a pyramid, got tables up to 50 grey levels apart.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wsikit.config import TileConfig
from wsikit.geometry import PatchGrid
from wsikit.slides.slide import DamagedPixelsError, Slide
from wsikit.stages.tiling.shard import read_patch, store_mpp
from wsikit.stages.tiling.survey import Survey
from wsikit.stain.methods import fit_normaliser
from wsikit.stain.normaliser import Identity, Normaliser
from wsikit.stain.reference import load_reference
from wsikit.stain.sample import StainSample, gather_sample
from wsikit.tissue.rgb import bright
from wsikit.tissue.shares import foreground_shares
from wsikit.types import BoolMask, UInt8Image

SAMPLE_PATCHES = 32
"""How many squares of tissue are looked at, spread evenly over the slide's tissue."""

SAMPLE_PX = 512
"""Side of a square, in store px."""


def fit_slide(slide: Slide, survey: Survey, grid: PatchGrid, config: TileConfig) -> Normaliser:
    """Return what normalises a slide's patches.

    Args:
        slide: an open slide.
        survey: where its tissue is.
        grid: its patch grid, for the resolution.
        config: method, reference and what counts as bright.
    """
    if config.stain.method == "none":
        return Identity()
    sample = sample_tissue(slide, survey, grid, config)
    return fit_normaliser(config.stain.method, sample, load_reference(config.stain.reference))


def sample_tissue(slide: Slide, survey: Survey, grid: PatchGrid, config: TileConfig) -> StainSample:
    """Gather the tissue pixels of squares spread evenly over a slide's tissue.

    Within a square, tissue is what is not bright. A square that cannot be decoded is passed over.

    Args:
        slide: an open slide.
        survey: where its tissue is.
        grid: its patch grid, for the resolution.
        config: what counts as bright.
    """
    squares = PatchGrid(grid.slide_px, grid.scale, SAMPLE_PX)
    mpp = store_mpp(slide, grid)
    places = _spread(foreground_shares(survey.tissue, survey.scale, squares))

    def read() -> Iterator[tuple[UInt8Image, BoolMask]]:
        for row, col in places:
            try:
                pixels = read_patch(slide, squares, (row, col), mpp)
            except DamagedPixelsError:
                continue
            yield pixels, ~bright(pixels, config.rgb.threshold, config.rgb.rule)

    return gather_sample(read())


def _spread(shares: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return (row, col) of at most `SAMPLE_PATCHES` squares that hold much tissue, row by row."""
    full = np.argwhere(shares >= max(0.25 * float(shares.max()), 1e-9))
    chosen = np.linspace(0, len(full) - 1, min(SAMPLE_PATCHES, len(full)))
    return [(int(row), int(col)) for row, col in full[np.unique(chosen.round().astype(int))]]
