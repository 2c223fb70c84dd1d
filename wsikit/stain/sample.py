"""What a slide's stain is fitted on: a bounded sample of its tissue, and its glass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from wsikit.stain.lookup import Histogram, count_where, select_pixels
from wsikit.types import BoolMask, UInt8Image

MIN_TISSUE_PX = 1000
"""A slide with fewer tissue pixels than this is left as it is: its histogram is noise."""

SAMPLE_PX = 2**16
"""Tissue pixels that a fit in Lab or in optical density looks at, at most."""

GLASS_VALUE = 200
"""Glass is no tissue and brighter than this in each channel; ink is no tissue either."""

GLASS_QUANTILE = 0.9
"""The glass's colour is this quantile of each channel over glass: below it lies pale tissue."""

UNSEEN_GLASS = (255.0, 255.0, 255.0)
"""What glass counts as where a slide shows next to none: the whole range of the camera."""

Triple = tuple[float, float, float]
"""One number a channel: R, G, B or L, a, b."""


@dataclass(frozen=True, eq=False)
class StainSample:
    """Hold what every stain method is fitted on.

    Args:
        histogram: (3, 256) int64, all tissue pixels that were looked at.
        pixels: (N, 3) uint8, all of them or some, spread evenly; `gather_sample` keeps at most
            `SAMPLE_PX`.
        white: (R, G, B) of the slide's glass, 200..255.
    """

    histogram: Histogram
    pixels: UInt8Image
    white: Triple = UNSEEN_GLASS

    @property
    def tissue_px(self) -> int:
        """How many tissue pixels were looked at."""
        return int(self.histogram[0].sum())

    @property
    def nearly_blank(self) -> bool:
        """Whether there is too little tissue to fit anything on."""
        return self.tissue_px < MIN_TISSUE_PX


def gather_sample(squares: Iterable[tuple[UInt8Image, BoolMask]]) -> StainSample:
    """Sum squares of a slide up to one sample.

    Args:
        squares: pairs of (H, W, 3) uint8 and (H, W) bool, true where tissue; taken one by one. The
            memory needed is 3 bytes a tissue pixel.

    Returns:
        The sample; the same squares in the same order give the same one.
    """
    histogram = np.zeros((3, 256), np.int64)
    glass = np.zeros((3, 256), np.int64)
    parts: list[UInt8Image] = [np.empty((0, 3), np.uint8)]
    for image, tissue in squares:
        histogram += count_where(image, tissue)
        glass += count_where(image, _glass(image, tissue))
        parts.append(select_pixels(image, tissue))
    return StainSample(histogram, thin_out(np.concatenate(parts)), _white(glass))


def thin_out(pixels: UInt8Image) -> UInt8Image:
    """Keep every n-th of (N, 3) pixels, so that at most `SAMPLE_PX` are left.

    The step is odd: an even one would meet the same columns of every JPEG block.
    """
    step = -(-len(pixels) // SAMPLE_PX)
    return pixels[:: max(1, step | 1)]


def _glass(image: UInt8Image, tissue: BoolMask) -> BoolMask:
    """Mark glass; pure white is what a file has where nothing was scanned, and tells nothing."""
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    darkest = np.minimum(np.minimum(red, green), blue)  # min(axis=2) takes 30 times as long
    return np.asarray(~tissue & (darkest > GLASS_VALUE) & (darkest < 255))


def _white(glass: Histogram) -> Triple:
    if glass[0].sum() < MIN_TISSUE_PX:
        return UNSEEN_GLASS
    shares = np.cumsum(glass, axis=1) / glass[0].sum()
    red, green, blue = (float(np.searchsorted(share, GLASS_QUANTILE)) for share in shares)
    return (red, green, blue)
