"""A slide at a glance: its thumbnail and what is drawn on it, the pictures of a collection in rows.

In the store the pictures of a collection lie in one column, which nobody can look at. Here they are
set out in rows from left to right; the frame that results is of no use but to be drawn in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsikit.heatmap.overlay import TISSUE, Words
from wsikit.heatmap.scores import PatchScores
from wsikit.heatmap.sheet import TruthOutline
from wsikit.slides.slide import WHITE
from wsikit.stages.heatmaps.slide_heatmap import SlideHeatmap
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import Size, UInt8Image

GAP = 0.02
"""Between two pictures, as a share of a picture's width."""


@dataclass(frozen=True)
class Overview:
    """All of a slide in one frame.

    Attributes:
        image: (h, w, 3) uint8.
        scale: px of the frame per px of the image along x and y.
        scores: the patches in that frame.
        truth: the known region in that frame.
        words: what is seen.
    """

    image: UInt8Image
    scale: tuple[float, float]
    scores: PatchScores
    truth: TruthOutline | None
    words: Words


def overview(slide: SlideHeatmap) -> Overview:
    """Return a slide as its thumbnail shows it, or its pictures in rows.

    Args:
        slide: the slide. Of one in the level-0 frame the frame stays that; the pictures of a
            collection are as many in a row as make the whole about as wide as high.
    """
    stored = slide.stored
    image, scale = stored.thumbnail(), stored.thumbnail_scale
    if not stored.is_collection:
        return Overview(image, scale, slide.scores, slide.truth, TISSUE)
    rows = _Rows(stored.grid.rows, stored.grid.patch_size, scale)
    truth = slide.truth
    if truth is not None:
        inside = _on_thumbnail(truth, image.shape[:2], scale)
        truth = TruthOutline(rows.arranged(inside, False), scale, truth.label)
    scores = replace(slide.scores, xy_l0=rows.moved(slide.scores.xy_l0))
    return Overview(rows.arranged(image, WHITE), scale, scores, truth, _words(stored))


def _words(stored: StoredSlide) -> Words:
    if stored.grid.rows == 1:
        return Words("picture", "picture with its score", "this picture", "")
    missing = stored.patch_count < stored.grid.rows
    rest = "uncoloured: cannot be decoded" if missing else ""
    return Words("pictures", "pictures with their scores", "these pictures", rest)


class _Rows:
    """Pictures of a column, set out in rows.

    Args:
        count: how many there are.
        size: width and height of one, level-0 px.
        scale: level-0 px per px of an image of the column along x and y.
    """

    def __init__(self, count: int, size: Size, scale: tuple[float, float]) -> None:
        self._count, self._size = count, size
        self._gap = max(1, round(GAP * size.width / scale[0]))
        self._gap_l0 = (self._gap * scale[0], self._gap * scale[1])
        self._across = max(1, min(count, round(math.sqrt(count * size.height / size.width))))

    def arranged(self, column: NDArray[Any], fill: Any) -> NDArray[Any]:
        """Rearrange an image of the column, whose height is a multiple of the number of pictures.

        Args:
            column: (count * h, w) or (count * h, w, 3).
            fill: value of the places that no picture takes up.
        """
        height, width = len(column) // self._count, column.shape[1]
        down, step = math.ceil(self._count / self._across), (height + self._gap, width + self._gap)
        sides = (down * step[0] - self._gap, self._across * step[1] - self._gap)
        out = np.full((*sides, *column.shape[2:]), fill, column.dtype)
        for number in range(self._count):
            top, left = number // self._across * step[0], number % self._across * step[1]
            part = column[number * height : (number + 1) * height]
            out[top : top + height, left : left + width] = part
        return out

    def moved(self, xy: NDArray[np.int32]) -> NDArray[np.int32]:
        """Move (N, 2) corners, x and y in level-0 px, to where their pictures lie now."""
        width, height = self._size
        number, within = np.divmod(xy[:, 1], height)
        x = number % self._across * (width + self._gap_l0[0]) + xy[:, 0]
        y = number // self._across * (height + self._gap_l0[1]) + within
        return np.rint(np.stack([x, y], axis=1)).astype(np.int32)


def _on_thumbnail(
    truth: TruthOutline, shape: tuple[int, ...], scale: tuple[float, float]
) -> NDArray[np.bool_]:
    """Return a mask at the centres of the thumbnail's pixels; outside the mask is outside."""
    inside = np.zeros(shape, np.bool_)
    at = [
        np.floor((np.arange(length) + 0.5) * across / own).astype(np.int64)
        for length, across, own in zip(shape, scale[::-1], truth.downsample[::-1], strict=True)
    ]
    rows, cols = (index[index < limit] for index, limit in zip(at, truth.mask.shape, strict=True))
    inside[: len(rows), : len(cols)] = truth.mask[np.ix_(rows, cols)]
    return inside
