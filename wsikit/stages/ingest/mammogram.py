"""Cut pictures out of a mammogram: patches in a lesion, a lesion with its surroundings, the breast.

All three keep the grey depth of the mammogram, and say where lesions lie in the picture cut out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsikit.errors import SlideError
from wsikit.slides.grey_dicom import GreyPicture
from wsikit.stages.ingest.collection import Collection, Facts, box_in, size_recipe
from wsikit.tissue.breast import breast_mask, mask_box
from wsikit.types import BoolMask, Box, Mpp, PatchPixels, Size

Kind = Literal["patches", "rois", "whole"]

SIDE_PX: dict[Kind, int] = {"patches": 224, "rois": 299, "whole": 512}
"""Side of the pictures of each kind, as the methods' papers have it."""

PATCHES = 8
"""Patches a lesion."""

CONTEXT = 0.25
"""Surroundings shown on each side of a lesion, as a share of its longer side."""

LEAST_SIDE = 16
"""Pixels of the mammogram that a picture shows at least."""


@dataclass(frozen=True)
class CutOptions:
    """How pictures are cut.

    Attributes:
        kind: `patches`: random centres in a lesion's box; `rois`: the lesion; `whole`: the breast.
        side: of the pictures, px; None for `SIDE_PX`.
        patches: a lesion.
        context: see `CONTEXT`.
        seed: of the centres.
    """

    kind: Kind = "rois"
    side: int | None = None
    patches: int = PATCHES
    context: float = CONTEXT
    seed: int = 0

    @property
    def side_px(self) -> int:
        """Side of the pictures, px."""
        return self.side or SIDE_PX[self.kind]

    def recipe(self) -> dict[str, Any]:
        """Return what decides the pictures, the mammogram apart."""
        side = self.side_px
        recipe: dict[str, Any] = {"kind": self.kind, **size_recipe(Size(side, side))}
        if self.kind != "whole":
            recipe["context"] = self.context
        if self.kind == "patches":
            recipe |= {"patches": self.patches, "seed": self.seed}
        return recipe


def lesion_pictures(
    picture: GreyPicture, lesion: Box, options: CutOptions, draw: Sequence[int], facts: Facts
) -> Collection:
    """Cut the pictures of one lesion.

    Args:
        picture: the mammogram.
        lesion: its box, px of the mammogram.
        options: `patches` or `rois`.
        draw: numbers that, with the seed, decide where patches lie.
        facts: what is known of all of them.

    Raises:
        SlideError: the lesion lies outside the breast, or the picture.
    """
    _check_in_breast(lesion, breast_mask(picture.pixels))
    side = max(LEAST_SIDE, round(max(lesion.width, lesion.height) * (1 + 2 * options.context)))
    if options.kind == "rois":
        centres = [(lesion.x + lesion.width / 2, lesion.y + lesion.height / 2)]
    else:
        rng = np.random.default_rng([options.seed, *draw])
        shares = rng.random((options.patches, 2)).tolist()
        centres = [(lesion.x + u * lesion.width, lesion.y + v * lesion.height) for u, v in shares]
    frames = [_frame(centre, side, picture.pixels.shape) for centre in centres]
    return _collection(picture, frames, [lesion], options, facts, pixel_digest(picture.pixels))


def breast_picture(
    picture: GreyPicture, lesions: Sequence[Box], options: CutOptions, facts: Facts
) -> Collection:
    """Cut out the breast, black where it is not, and make it a square without distorting it.

    Args:
        picture: the mammogram.
        lesions: boxes of its lesions, px of the mammogram; there may be none.
        options: `whole`.
        facts: what is known of it.

    Raises:
        SlideError: no breast is seen, or a lesion lies outside it.
    """
    mask = breast_mask(picture.pixels)
    box = mask_box(mask)
    if box is None:
        raise SlideError("no breast is seen in the picture", "check the file")
    for lesion in lesions:
        _check_in_breast(lesion, mask)
    bare = picture._replace(pixels=np.where(mask, picture.pixels, 0).astype(np.uint16))
    side = round(max(box.width, box.height))
    left = round(box.x + (box.width - side) / 2)
    top = round(box.y + (box.height - side) / 2)
    origin = pixel_digest(picture.pixels)
    return _collection(bare, [Box(left, top, side, side)], lesions, options, facts, origin)


def pixel_digest(pixels: NDArray[np.uint16]) -> str:
    """Return SHA-256 in hex of a picture's size and pixels: no header of its file enters it.

    Args:
        pixels: (H, W) uint16.
    """
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels, "<u2").data)
    return digest.hexdigest()


def _check_in_breast(lesion: Box, mask: BoolMask) -> None:
    left, top = max(0, round(lesion.x)), max(0, round(lesion.y))
    right, bottom = round(lesion.x + lesion.width), round(lesion.y + lesion.height)
    if not mask[top : max(bottom, top + 1), left : max(right, left + 1)].any():
        raise SlideError("the lesion lies outside the breast", "check its mask or its coordinates")


def _frame(centre: tuple[float, float], side: int, shape: tuple[int, ...]) -> Box:
    """Return a square about a centre, moved into the picture as far as it fits."""
    starts = []
    for middle, length in zip(centre, shape[::-1], strict=True):
        start = round(middle - side / 2)
        starts.append(max(0, min(start, length - side)) if side <= length else start)
    return Box(starts[0], starts[1], side, side)


def _collection(
    picture: GreyPicture,
    frames: Sequence[Box],
    lesions: Sequence[Box],
    options: CutOptions,
    facts: Facts,
    origin: str,
) -> Collection:
    side = options.side_px
    scales = [frame.width / side for frame in frames]
    facts = {**facts, "origin": origin}
    return Collection(
        size=Size(side, side),
        facts=[
            {
                **facts,
                "picture": number,
                "boxes": [box_in(lesion, frame, (scale, scale)) for lesion in lesions],
                "scale": round(scale, 6),
            }
            for number, (frame, scale) in enumerate(zip(frames, scales, strict=True))
        ],
        read=lambda number: resized_cut(picture.pixels, frames[number], side),
        grey=True,
        max_value=picture.max_value,
        mpp=_same_mpp(picture.mpp, scales),
    )


def _same_mpp(mpp: Mpp | None, scales: Sequence[float]) -> Mpp | None:
    """Return micrometres per pixel of the pictures, which are all cut at one scale."""
    return None if mpp is None else Mpp(mpp.x * scales[0], mpp.y * scales[0])


def resized_cut(pixels: NDArray[np.uint16], frame: Box, side: int) -> PatchPixels:
    """Cut out a square and resize it, antialiased, at full depth.

    Args:
        pixels: (H, W) uint16.
        frame: a square of whole px; what lies beyond the picture is black.
        side: of the result.

    Returns:
        (side, side, 1) uint16.
    """
    height, width = pixels.shape
    left, top, length = int(frame.x), int(frame.y), int(frame.width)
    cut = np.zeros((length, length), np.float32)
    rows = slice(max(0, top), min(height, top + length))
    cols = slice(max(0, left), min(width, left + length))
    cut[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left] = pixels[
        rows, cols
    ]
    if length != side:
        cut = np.asarray(Image.fromarray(cut).resize((side, side), Image.Resampling.BILINEAR))
    return np.clip(np.rint(cut), 0, 65535).astype(np.uint16)[..., None]
