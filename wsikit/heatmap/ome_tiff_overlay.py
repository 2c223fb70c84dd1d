"""The slide with its scores in colour, as a pyramid that slide viewers open."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from wsikit.atomic import whole_file
from wsikit.heatmap.colours import HEAT_MAP
from wsikit.heatmap.ome_tiff_pyramid import TILE_PX, write_pyramid
from wsikit.heatmap.ome_xml import UNKNOWN_SIZE, OmeImage, ome_xml
from wsikit.heatmap.paint import paint, value_map
from wsikit.heatmap.scores import PatchScores
from wsikit.types import Box, Mpp, Size, UInt8Image

BLOCK_PX = 4096
"""Widest piece of a row of tiles that is read and coloured at a time."""

ReadRegion = Callable[[Box], UInt8Image]
"""Read a level-0 box at the overlay's resolution, white outside the slide."""


def write_overlay_tiff(
    path: Path,
    scores: PatchScores,
    read: ReadRegion,
    slide_px: Size,
    scale: tuple[float, float],
    mpp: Mpp,
    name: str,
    *,
    alpha: float = 0.45,
    colours: str = HEAT_MAP,
    origin: str = "",
    mpp_known: bool = True,
) -> None:
    """Write the slide, coloured where it was scored, as OME-TIFF that appears whole or not at all.

    Memory holds a row of tiles of each level, whatever the height of the slide.

    Args:
        path: the file to write.
        scores: the patches; what lies in none keeps its own colours.
        read: reads (h, w, 3) uint8 of a box whose sides are whole multiples of `scale`.
        slide_px: (width, height) of the slide in level-0 px.
        scale: level-0 px per overlay px along x and y.
        mpp: micrometres per level-0 px.
        name: of the slide.
        alpha: share of the colour over the tissue, 0..1.
        colours: one of `HEAT_MAPS`.
        origin: where the slide's pixels come from, in words.
        mpp_known: whether `mpp` is true; if not, no size in micrometres is written.

    Raises:
        UsageError: the file cannot be written.
    """
    # A pixel that the slide covers in part only would be averaged with white: it is left out.
    width, height = (
        max(1, math.floor(side / step + 1e-6)) for side, step in zip(slide_px, scale, strict=True)
    )
    size = Size(width, height)
    um_per_px = Mpp(scale[0] * mpp.x, scale[1] * mpp.y) if mpp_known else None
    legend = f"{colours} from 0 to {100 if scores.by_percentile else 1}, {alpha:.0%} over the slide"
    described = OmeImage(
        name=f"{name} heatmap",
        channel=f"slide and {scores.shown_meaning}",
        description=f"{scores.shown_meaning}, {legend}; without colour: not scored."
        f"{'' if mpp_known else ' ' + UNKNOWN_SIZE}",
        size=size,
        kind="uint8",
        samples=3,
        um_per_px=um_per_px,
        notes={
            "meaning": scores.shown_meaning,
            "colours": legend,
            scores.units: str(len(scores.values)),
            **({"slide pixels": origin} if origin else {}),
            "pixel, level-0 px": f"{scale[0]:.12g} x {scale[1]:.12g}",
            "frame": "level-0 pixels of the slide, origin top left, (x, y)",
        },
    )
    strips = _strips(scores, read, size, scale, alpha, colours)
    with whole_file(path) as temporary:
        write_pyramid(temporary, size, strips, ome_xml(described), um_per_px)


def _strips(
    scores: PatchScores,
    read: ReadRegion,
    size: Size,
    scale: tuple[float, float],
    alpha: float,
    colours: str,
) -> Iterator[UInt8Image]:
    """Yield the coloured slide a row of tiles at a time, from top to bottom."""
    shown = scores.shown
    for top in range(0, size.height, TILE_PX):
        rows = min(TILE_PX, size.height - top)
        strip = np.empty((rows, size.width, 3), np.uint8)
        for left in range(0, size.width, BLOCK_PX):
            cols = min(BLOCK_PX, size.width - left)
            corner = np.array((left * scale[0], top * scale[1]))
            sides = np.array((cols * scale[0], rows * scale[1]))
            near = scores.xy_l0 - corner
            touching = ((near < sides) & (near + np.array(scores.side_l0) > 0)).all(axis=1)
            block = read(Box(corner[0], corner[1], sides[0], sides[1]))
            value, scored = value_map(
                (rows, cols), scale, near[touching], scores.side_l0, shown[touching]
            )
            strip[:, left : left + cols] = paint(block, value, scored, alpha, colours)
        yield strip
