"""A picture beside the same picture under its Grad-CAM, lesions boxed, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image

from wsikit.heatmap.sheet import MIN_SLOT, Panel, Sheet, clean, count_words, fit_panel, shorten
from wsikit.types import FloatArray, Mpp, UInt8Image

COLOURS = "inferno"
BOX = "#35d0ff"

LONGER_PX = 640
"""Longer side of each of the two pictures on the sheet."""

CHARACTER_PX = 7.9
"""What a character of a heading takes up."""


@dataclass(frozen=True)
class GradCamPicture:
    """A picture, and where in it a network saw what speaks for a class.

    Attributes:
        picture: (H, W, 3) uint8.
        cam: (H, W) float32 from 0 to 1.
        boxes: (x, y, width, height) of each lesion, px of the picture; None where nobody says
            whether there are any.
        title: first line.
        said: what the network says of the picture, over it.
        meaning: what the colours speak for.
        mpp: micrometres per px of the picture; None where nobody knows, and no bar is drawn.
    """

    picture: UInt8Image
    cam: FloatArray
    boxes: Sequence[Sequence[float]] | None
    title: str
    said: str
    meaning: str
    mpp: Mpp | None = None


def draw_grad_cam(shown: GradCamPicture, path: Path, *, alpha: float = 0.45) -> None:
    """Write the sheet.

    Args:
        shown: what is drawn.
        path: the PNG.
        alpha: opacity of the colours where they are strongest; where there is nothing, none.

    Raises:
        UsageError: the file cannot be written.
    """
    panel = fit_panel(shown.picture, (1.0, 1.0), shown.mpp or Mpp(1.0, 1.0), LONGER_PX)
    sheet = Sheet(panel, shown.title)
    where = "" if shown.cam.any() else ": nowhere"
    headings = (shown.said, f"Grad-CAM, {shown.meaning}{where}")
    room = max(panel.size.width, MIN_SLOT) / CHARACTER_PX
    shares = _shares(panel, shown.cam)
    for index, image in enumerate((panel.image, _coloured(panel.image, shares, alpha))):
        axes = sheet.picture(index, image, shorten(clean(headings[index]), room))
        _draw_boxes(axes, panel, shown.boxes or ())
    if shown.mpp is not None:
        sheet.scale_bar()
    sheet.caption(_box_words(shown.boxes))
    labels = [f"{tick:.1f}" for tick in np.linspace(0, 1, 6).tolist()]
    gradient = _gradient(panel.image, shares, alpha)
    sheet.colour_bar(gradient, labels, "share of the picture's largest")
    sheet.save(path)


def _draw_boxes(axes: Axes, panel: Panel, boxes: Sequence[Sequence[float]]) -> None:
    across, down = panel.scale
    for x, y, width, height in boxes:
        corner, sides = (x / across, y / down), (width / across, height / down)
        axes.add_patch(Rectangle(corner, *sides, fill=False, edgecolor=BOX, linewidth=1.5))
    axes.set_xlim(0, panel.size.width)
    axes.set_ylim(panel.size.height, 0)


def _box_words(boxes: Sequence[Sequence[float]] | None) -> str:
    if boxes is None:
        return ""
    return f"box: {count_words(len(boxes), 'known lesion')}" if boxes else "no known lesion"


def _shares(panel: Panel, cam: FloatArray) -> FloatArray:
    """Return the map, (h, w) float32 from 0 to 1, in the pixels of a panel."""
    resized = Image.fromarray(cam).resize(panel.size, Image.Resampling.BILINEAR)
    return np.clip(np.asarray(resized, np.float32), 0, 1)


def _coloured(under: UInt8Image, shares: FloatArray, alpha: float) -> UInt8Image:
    """Lay the colours of shares (...) over pixels (..., 3), the less opaque the lower they are."""
    colours = colormaps[COLOURS](shares)[..., :3] * 255
    weight = (alpha * np.sqrt(shares))[..., None]
    mixed: UInt8Image = np.rint(under * (1 - weight) + colours * weight).astype(np.uint8)
    return mixed


def _gradient(image: UInt8Image, shares: FloatArray, alpha: float) -> UInt8Image:
    """Return the colours from low to high as they look over what the map lies on, (256, 3)."""
    weights = shares.ravel() if shares.any() else np.ones(shares.size)
    tissue = np.average(image.reshape(-1, 3), axis=0, weights=weights)
    under = np.broadcast_to(np.rint(tissue).astype(np.uint8), (256, 3))
    return _coloured(under, np.linspace(0, 1, 256, dtype=np.float32), alpha)
