"""A slide with one dark square in pale tissue, and scores that are highest on the square."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from wsikit.heatmap.scores import PatchScores
from wsikit.heatmap.sheet import TruthOutline
from wsikit.heatmap.viewer.layers import Layer
from wsikit.heatmap.viewer.write import Subject
from wsikit.types import Box, Mpp, Size, UInt8Image

SIZE = Size(3000, 1700)
MPP = Mpp(0.5, 0.46)
SQUARE = Box(1920, 850, 128, 139)
"""The tumour, in level-0 px: 64 um a side, and not on the borders of patches."""

SIDE = Size(128, 139)
TISSUE, TUMOUR = (236, 200, 220), (70, 30, 110)


def slide_pixels() -> UInt8Image:
    """Return the slide at level 0."""
    image = np.full((SIZE.height, SIZE.width, 3), TISSUE, np.uint8)
    x, y, width, height = (int(number) for number in SQUARE)
    image[y : y + height, x : x + width] = TUMOUR
    return image


def read_from(image: UInt8Image, mpp_l0: Mpp):
    """Return a reader of an array, by Pillow's area average."""
    picture = Image.fromarray(image)

    def read(region: Box, mpp: Mpp) -> UInt8Image:
        size = (
            max(1, round(region.width * mpp_l0.x / mpp.x)),
            max(1, round(region.height * mpp_l0.y / mpp.y)),
        )
        box = (region.x, region.y, region.x + region.width, region.y + region.height)
        inside = (min(box[2], image.shape[1]), min(box[3], image.shape[0]))
        if inside == box[2:]:
            return np.asarray(picture.resize(size, Image.Resampling.BOX, box=box))
        whole = np.full((round(region.height), round(region.width), 3), 255, np.uint8)
        part = image[int(box[1]) : int(inside[1]), int(box[0]) : int(inside[0])]
        whole[: len(part), : part.shape[1]] = part
        return np.asarray(Image.fromarray(whole).resize(size, Image.Resampling.BOX))

    return read


def grid_scores(kind: str = "probability", flip: bool = False) -> PatchScores:
    """Score patches of 128 x 139 px by the share of the square they hold; a rim stays bare."""
    across, down = SIZE.width // SIDE.width, SIZE.height // SIDE.height
    places = [(c * SIDE.width, r * SIDE.height) for r in range(1, down) for c in range(1, across)]
    xy = np.array(places, np.int32)
    corner, square = np.array(SQUARE[:2]), np.array(SQUARE[2:])
    low = np.maximum(xy, corner)
    high = np.minimum(xy + np.array(SIDE), corner + square)
    share = np.clip(high - low, 0, None).prod(axis=1) / square.prod()
    values = 0.05 + 0.9 * share + np.linspace(0, 0.01, len(xy))
    values = 1 - values if flip else values
    if kind == "attention":
        return PatchScores(xy, SIDE, np.float32(values / values.sum()), "attention", "attention")
    return PatchScores(xy, SIDE, np.float32(values), "probability of tumour", "probability")


def subject(**changes: Any) -> Subject:
    """Return the slide with two runs."""
    mask = np.zeros((SIZE.height // 10, SIZE.width // 10), bool)
    mask[85:99, 192:205] = True
    given: dict[str, Any] = {
        "slide_id": "ph",
        "size_l0": SIZE,
        "mpp_l0": MPP,
        "layers": [
            Layer("first", grid_scores()),
            Layer("second", grid_scores("attention", flip=True)),
        ],
        "read": read_from(slide_pixels(), MPP),
        "finest": MPP,
        "patch_mpp": Mpp(0.5, 0.5),
        "most_patches": 40,
        "truth": TruthOutline(mask, (10.0, 10.0), "known tumour"),
        "origin": "drawn for a test",
    }
    return Subject(**{**given, **changes})
