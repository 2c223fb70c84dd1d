"""Overviews with known truth: a phantom at 8 um per px, and things drawn on it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from wsikit.phantoms.render import render_block
from wsikit.phantoms.spec import PhantomSpec
from wsikit.phantoms.truth import tissue_mask as truth_of
from wsikit.slides.resample import area_average
from wsikit.types import Mpp, Size

DOWN = 2
OVERVIEW_MPP = (8.0, 7.6)

INKS = {
    "blue": (40, 70, 190),
    "navy": (20, 20, 100),
    "green": (20, 120, 70),
    "red": (200, 20, 30),
    "black": (30, 30, 32),
}


@lru_cache(maxsize=8)
def phantom(scanner="aurora", seed=4, pen=False):
    """Return an overview of about 2.5 x 1.8 mm and its exact tissue."""
    spec = PhantomSpec("slide", Size(640, 480), Mpp(4.0, 3.8), seed, True, scanner, pen)
    image = area_average(render_block(spec, 0, 0, 640, 480), (0.0, 0.0), (2.0, 2.0), Size(320, 240))
    return image, truth_of(spec, DOWN)


def write_on(image, colour, width=30):
    """Draw a stroke of ink over an overview; light passes both. Return it and where ink is."""
    stroke = Image.new("L", image.shape[1::-1], 0)
    height, across = image.shape[:2]
    line = [(0.05 * across, 0.1 * height), (0.9 * across, 0.2 * height), (0.5 * across, height)]
    ImageDraw.Draw(stroke).line(line, fill=255, width=width)
    thickness = np.asarray(stroke.filter(ImageFilter.GaussianBlur(1.5))) / 255.0
    passes = (np.asarray(colour) / 245.0) ** thickness[..., None]
    return np.round(image * passes).astype(np.uint8), thickness


def iou(a, b):
    """Return intersection over union of two masks."""
    return (a & b).sum() / (a | b).sum()
