"""Patch scores as a small picture, one pixel a patch, with its true size and place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from wsikit.atomic import whole_file
from wsikit.errors import WsikitError
from wsikit.heatmap.ome_xml import UNKNOWN_SIZE, OmeImage, ome_xml, resolution_tags
from wsikit.heatmap.scores import PatchScores
from wsikit.types import Mpp, Size

MAX_PIXELS = 1 << 28
"""Pixels of the largest score picture: a slide of 4,000,000 x 4,000,000 px at 256 px a patch."""

PixelKind = Literal["float32", "uint8"]


@dataclass(frozen=True)
class Lattice:
    """Lay pixels over a slide so that each is centred on a patch.

    Attributes:
        size: (width, height) of the picture.
        step_l0: level-0 px from one pixel to the next along x and y.
        origin_l0: level-0 place of the upper left corner of the upper left pixel; not zero where
            patches overlap, whose first centre lies further in than half a step.
    """

    size: Size
    step_l0: tuple[float, float]
    origin_l0: tuple[float, float]


def lattice(scores: PatchScores, slide_px: Size, step_l0: tuple[float, float]) -> Lattice:
    """Return the pixels that a slide's patches fall on.

    Args:
        scores: the patches.
        slide_px: (width, height) of the slide in level-0 px; the picture covers all of it.
        step_l0: level-0 px from one patch to the next along x and y.

    Raises:
        WsikitError: the picture would be absurdly large.
    """
    sides = []
    origins = []
    for axis in (0, 1):
        step, side = step_l0[axis], scores.side_l0[axis]
        shift = (side - step) / 2
        origin = 0.0 if abs(shift) < 1 else shift
        last = float(scores.xy_l0[:, axis].max(initial=0)) + side / 2 - origin
        covered = math.ceil((slide_px[axis] - origin) / step - 1e-6)
        sides.append(max(1, covered, math.floor(last / step) + 1))
        origins.append(origin)
    if sides[0] * sides[1] > MAX_PIXELS:
        raise WsikitError(
            f"a score picture of {sides[0]:,} x {sides[1]:,} pixels is too large",
            "choose a larger heatmap.stride",
        )
    return Lattice(Size(*sides), step_l0, (origins[0], origins[1]))


def score_image(
    scores: PatchScores, places: Lattice, kind: PixelKind = "float32"
) -> NDArray[np.float32] | NDArray[np.uint8]:
    """Draw the shown scores, a pixel a patch.

    Where the centres of several patches fall on one pixel, as they do where patches lie on no
    lattice, it holds their mean.

    Args:
        scores: the patches.
        places: where each pixel lies.
        kind: `float32`, percentiles from 0 to 100 and all else from 0 to 1, NaN where no patch is;
            or `uint8`, 1 for the lowest possible and 255 for the highest, 0 where no patch is.

    Returns:
        (height, width).
    """
    centre = scores.xy_l0 + np.array(scores.side_l0) / 2 - np.array(places.origin_l0)
    col, row = np.floor(centre / np.array(places.step_l0)).astype(np.int64).T
    total = np.zeros(places.size[::-1])
    count = np.zeros(places.size[::-1])
    np.add.at(total, (row, col), scores.shown.astype(np.float64))
    np.add.at(count, (row, col), 1)
    shown = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    if kind == "float32":
        return np.asarray(shown * (100 if scores.by_percentile else 1), np.float32)
    steps = np.where(count > 0, 1 + np.rint(np.nan_to_num(shown) * 254), 0)
    return np.asarray(steps, np.uint8)


def write_score_tiff(
    path: Path,
    scores: PatchScores,
    slide_px: Size,
    step_l0: tuple[float, float],
    mpp: Mpp,
    name: str,
    kind: PixelKind = "float32",
    *,
    mpp_known: bool = True,
) -> None:
    """Write the scores as a single-channel OME-TIFF that appears whole or not at all.

    Args:
        path: the file to write.
        scores: the patches.
        slide_px: (width, height) of the slide in level-0 px.
        step_l0: level-0 px from one patch to the next along x and y.
        mpp: micrometres per level-0 px.
        name: of the slide.
        kind: see `score_image`.
        mpp_known: whether `mpp` is true; if not, no size in micrometres is written.

    Raises:
        UsageError: the file cannot be written.
        WsikitError: the picture would be absurdly large.
    """
    places = lattice(scores, slide_px, step_l0)
    image = score_image(scores, places, kind)
    um_per_px = None
    if mpp_known:
        um_per_px = Mpp(places.step_l0[0] * mpp.x, places.step_l0[1] * mpp.y)
    described = OmeImage(
        name=f"{name} patch scores",
        channel=scores.shown_meaning,
        description=f"{scores.shown_meaning}. One pixel a {scores.unit}. "
        f"{_range_words(scores, kind)}{'' if mpp_known else ' ' + UNKNOWN_SIZE}",
        size=places.size,
        kind="float" if kind == "float32" else "uint8",
        samples=1,
        um_per_px=um_per_px,
        origin_um=(places.origin_l0[0] * mpp.x, places.origin_l0[1] * mpp.y),
        notes={
            "meaning": scores.shown_meaning,
            "values": _range_words(scores, kind),
            scores.units: str(len(scores.values)),
            f"{scores.unit}, level-0 px": f"{scores.side_l0.width} x {scores.side_l0.height}",
            "pixel, level-0 px": f"{places.step_l0[0]:.12g} x {places.step_l0[1]:.12g}",
            "origin, level-0 px": f"{places.origin_l0[0]:.12g}, {places.origin_l0[1]:.12g}",
            "frame": "level-0 pixels of the slide, origin top left, (x, y); the position is that "
            "of the upper left corner of the upper left pixel",
        },
    )
    with whole_file(path) as temporary:
        tifffile.imwrite(
            temporary,
            image,
            ome=False,
            metadata=None,
            description=ome_xml(described),
            software=False,
            compression="zlib",
            photometric="minisblack",
            **resolution_tags(um_per_px),
        )


def _range_words(scores: PatchScores, kind: PixelKind) -> str:
    """Say what the numbers are."""
    top = 100 if scores.by_percentile else 1
    if kind == "float32":
        return f"From 0 to {top}; NaN: no patch was scored there."
    return f"1 stands for 0 and 255 for {top}, evenly between; 0: no patch was scored there."
