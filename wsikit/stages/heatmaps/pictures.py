"""What is known of the pictures of a collection: what to call each, and where its lesions are."""

from __future__ import annotations

import math

import numpy as np

from wsikit.heatmap.sheet import TruthOutline
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import BoolMask

LESION = "known lesion"


def picture_names(stored: StoredSlide) -> list[str]:
    """Name each patch of a slide as a picture, in index order; an only one needs no name.

    `picture 3`, the number in the index; of BreakHis also the number in the file's name.
    """
    facts = stored.pictures or [{} for _ in range(stored.patch_count)]
    if len(facts) == 1:
        return [""]
    return [
        f"picture {number}" + (f" (sequence {own['sequence']})" if "sequence" in own else "")
        for number, own in enumerate(facts)
    ]


def picture_boxes(stored: StoredSlide) -> list[list[list[float]] | None]:
    """Return each picture's lesions in index order: (x, y, width, height) in px of the picture.

    None stands where the data set says nothing of lesions, as BreakHis; an empty list says that
    there is none.
    """
    facts = stored.pictures or [{} for _ in range(stored.patch_count)]
    return [own.get("boxes") for own in facts]


def lesion_outline(stored: StoredSlide) -> TruthOutline | None:
    """Return the boxes of a collection's lesions as a known region.

    A box is cut off one thumbnail pixel before its picture's rim, so that those of neighbours in
    the column do not run together.

    Returns:
        The region, without any pixel inside where there is no lesion; None where the store knows
        nothing of lesions.
    """
    known = picture_boxes(stored)
    if all(boxes is None for boxes in known):
        return None
    (across, down), grid = stored.thumbnail_scale, stored.grid
    width, height = round(grid.patch_px / across), round(grid.patch_size.height / down)
    mask = np.zeros((grid.rows * height, width), np.bool_)
    for row, boxes in zip(stored.patches.row.tolist(), known, strict=True):
        picture = mask[row * height + 1 : (row + 1) * height - 1, 1:-1]
        for x, y, box_width, box_height in boxes or ():
            _fill(picture, x / across, y / down, box_width / across, box_height / down)
    return TruthOutline(mask, (across, down), LESION)


def _fill(picture: BoolMask, x: float, y: float, width: float, height: float) -> None:
    """Mark a box in a picture whose first pixel is (1, 1); what lies outside is cut off."""
    rows = slice(max(0, math.floor(y) - 1), max(0, math.ceil(y + height) - 1))
    cols = slice(max(0, math.floor(x) - 1), max(0, math.ceil(x + width) - 1))
    picture[rows, cols] = True
