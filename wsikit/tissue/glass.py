"""Find the colour of empty glass, and measure pixels against it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsikit.types import BoolMask, FloatArray, UInt8Image

GlassColour = tuple[float, float, float]
"""Red, green and blue of empty glass, 0..255."""

FILL = 255
"""Readers put exactly this where a file holds no pixels."""

BLACK = 40
"""A pixel with no channel above this is a scanner's border: tissue lets more light through."""

FLAT_RANGE = 4
"""Grey levels that a pixel of glass and its neighbours differ by at most."""

LEAST_GLASS = 150
"""Glass has a channel at least this bright."""

PINK_TINT = 0.035
"""Optical density that glass may have in green above both other channels: more is pale eosin."""

OTHER_TINT = 0.10
"""Largest difference of optical density between two channels of coloured glass."""

LEAST_PIXELS = 9
LEAST_SHARE = 0.001
"""Fewer flat bright pixels than this, or than this share of the picture, are not glass."""

PEAK_SHARE = 0.1
"""Glass is the brightest grey level with this share of the commonest level's pixels."""

PEAK_WIDTH = 4
"""Grey levels about the peak whose pixels give the colour."""

ASSUMED_RANGE = (200.0, 255.0)
"""How bright neutral glass is assumed to be at least and at most where a picture shows none."""

SAMPLES = 60_000
"""Pixels looked at; more of them tell nothing new."""


def glass_colour(image: UInt8Image) -> GlassColour:
    """Find the colour of empty glass on a slide.

    Glass is flat, bright and hardly tinted. A tint towards pink is believed less than another one,
    because pale eosin is pink. Of several such colours the brightest that is common is taken. Where
    none is found (a crop or a core that is tissue all over), glass is assumed to be neutral and as
    bright as the picture's brightest channel. Pixels of exactly (255, 255, 255) are taken for
    missing ones and have no say.

    Args:
        image: (h, w, 3) uint8, an overview.

    Returns:
        Red, green and blue.
    """
    step = max(1, int(np.sqrt(image.shape[0] * image.shape[1] / SAMPLES)))
    sample = image[::step, ::step]
    brightest = np.maximum(np.maximum(sample[..., 0], sample[..., 1]), sample[..., 2])
    seen = _is_flat(image, step) & (brightest >= LEAST_GLASS) & ~missing(sample)
    colours = sample[seen].astype(np.float32)
    colours = colours[_is_tinted_like_glass(colours)]
    if len(colours) < max(LEAST_PIXELS, LEAST_SHARE * brightest.size):
        level = float(np.clip(np.percentile(brightest, 99.5), *ASSUMED_RANGE))
        return (level, level, level)
    grey = (colours[:, 0] + colours[:, 1] + colours[:, 2]) / 3
    counts = np.bincount(grey.astype(np.int64), minlength=256).astype(np.float64)
    counts = ndimage.uniform_filter1d(counts, PEAK_WIDTH + 1, mode="constant")
    peak = np.flatnonzero(counts >= PEAK_SHARE * counts.max())[-1] - PEAK_WIDTH // 2
    red, green, blue = np.median(colours[np.abs(grey - peak) <= PEAK_WIDTH], axis=0)
    return (float(red), float(green), float(blue))


def missing(image: UInt8Image) -> BoolMask:
    """Mark pixels that hold no picture: exact white fill, and black borders.

    Args:
        image: (h, w, 3) uint8.

    Returns:
        (h, w) bool.
    """
    red, green, blue = (image[..., c] for c in range(3))
    white = (red & green & blue) == FILL
    return np.asarray(white | (np.maximum(np.maximum(red, green), blue) <= BLACK))


def optical_density(image: UInt8Image, glass: GlassColour) -> FloatArray:
    """Return how much light each pixel takes away from glass, per channel.

    Args:
        image: (h, w, 3) uint8.
        glass: red, green and blue of empty glass.

    Returns:
        (3, h, w) float32, base 10; 0 for glass and for whatever is brighter.
    """
    values = np.arange(256)
    density = np.empty((3, *image.shape[:2]), np.float32)
    for channel, level in enumerate(glass):
        table = np.log10((level + 1) / (values + 1)).clip(min=0).astype(np.float32)
        # No value is outside the table; to look for that, "raise" would copy all of it.
        np.take(table, image[..., channel], out=density[channel], mode="clip")
    return density


def _is_flat(image: UInt8Image, step: int) -> BoolMask:
    """Tell whether every `step`-th pixel differs little from its neighbours, along both axes."""
    height, width = image.shape[:2]
    flat = np.ones((-(-height // step), -(-width // step)), np.bool_)
    for channel in (0, 1):
        plane = image[..., channel]
        here = plane[::step, ::step]
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            rows = np.clip(np.arange(0, height, step) + dy, 0, height - 1)
            columns = np.clip(np.arange(0, width, step) + dx, 0, width - 1)
            flat &= _differ(here, plane[np.ix_(rows, columns)]) <= FLAT_RANGE
    return flat


def _differ(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(np.maximum(a, b) - np.minimum(a, b))


def _is_tinted_like_glass(colours: FloatArray) -> BoolMask:
    red, green, blue = np.log10(colours.T + 1)
    pink = np.minimum(red, blue) - green
    high = np.maximum(np.maximum(red, green), blue)
    low = np.minimum(np.minimum(red, green), blue)
    return np.asarray((pink <= PINK_TINT) & (high - low <= OTHER_TINT))
