"""Read mammograms and masks of CBIS-DDSM, known by what they hold, and cut pictures out of them.

Files called "ROI mask" and "cropped" are swapped in places, so a mask is known by its content: two
values at most. Masks may be of another size than their mammogram.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from zlib import crc32

import numpy as np

from wsikit.errors import SlideError
from wsikit.slides.grey_dicom import GreyPicture, read_grey_dicom
from wsikit.stages.ingest.cbis_descriptions import Lesion
from wsikit.stages.ingest.cbis_folders import folder_above
from wsikit.stages.ingest.collection import Collection
from wsikit.stages.ingest.mammogram import CutOptions, breast_picture, lesion_pictures
from wsikit.tissue.breast import mask_box
from wsikit.types import Box

SAME_SHAPE = 0.05
"""A mask whose sides relate otherwise than its mammogram's, by more than this, is another's."""


def open_lesion(
    lesion: Lesion, image: tuple[Path, ...], masks: tuple[Path, ...], cut: CutOptions
) -> Collection:
    """Cut out the patches or the region of one lesion.

    Args:
        lesion: the row that describes it.
        image: DICOM files of its mammogram's folder.
        masks: DICOM files of its own folder.
        cut: how pictures are cut.

    Raises:
        SlideError: a file cannot be read, the mammogram or the mask is not among them, or the
            lesion lies outside the breast.
    """
    picture = _mammogram(image)
    box = _lesion_box(masks, picture)
    facts = {"abnormality": f"{lesion.kind} {lesion.number}", **_facts(lesion)}
    return lesion_pictures(picture, box, cut, [crc32(lesion.folder.encode())], facts)


def open_whole(
    lesion: Lesion,
    image: tuple[Path, ...],
    masks: Mapping[str, tuple[Path, ...]],
    cut: CutOptions,
) -> Collection:
    """Cut out the breast; a lesion without a usable mask costs its box, not the picture.

    Args:
        lesion: a row that describes a lesion of it.
        image: DICOM files of the mammogram's folder.
        masks: lesion -> DICOM files of its folder.
        cut: how the picture is cut.

    Raises:
        SlideError: there is no mammogram, or a lesion lies outside its breast.
    """
    picture = _mammogram(image)
    boxes, notes = [], []
    for name, paths in masks.items():
        try:
            boxes.append(_lesion_box(paths, picture))
        except SlideError as error:
            notes.append(f"the box of {name}, as {error.what}")
    found = breast_picture(picture, boxes, cut, _facts(lesion))
    return Collection(
        found.size, found.facts, found.read, found.grey, found.max_value, found.mpp, notes
    )


def _facts(lesion: Lesion) -> dict[str, str]:
    return {"view": lesion.view, "side": lesion.breast.lower()}


def _read(path: Path) -> GreyPicture:
    """Read a file; all are called alike, so what is wrong with one is told with its folder."""
    try:
        return read_grey_dicom(path)
    except SlideError as error:
        raise SlideError(f"{folder_above(path)}/.../{error.what}", error.fix) from error


def _mammogram(files: Sequence[Path]) -> GreyPicture:
    """Read the mammogram of a folder: the largest picture that is no mask."""
    pictures = [p for p in map(_read, files) if not is_mask(p)]
    if not pictures:
        raise SlideError(
            "its mammogram is missing or blank: all files of that folder have two values at most",
            "get the folder again",
        )
    return max(pictures, key=lambda picture: picture.pixels.size)


def is_mask(picture: GreyPicture) -> bool:
    """Tell whether a picture has two values at most, as masks do and no X-ray does."""
    low, high = picture.pixels.min(), picture.pixels.max()
    return bool(((picture.pixels == low) | (picture.pixels == high)).all())


def _lesion_box(files: Sequence[Path], picture: GreyPicture) -> Box:
    """Find the mask among a lesion's files by what it holds, and its box in the mammogram.

    Raises:
        SlideError: there is none, it is empty, or it is of another shape than the mammogram.
    """
    if not files:
        raise SlideError("it has no mask: the folder is missing", "get the folder again")
    masks = [p for p in map(_read, files) if is_mask(p)]
    if not masks:
        raise SlideError(
            f"it has no mask: {len(files)} files, all ordinary pictures", "get the mask as well"
        )
    boxes = [(mask.pixels.shape, mask_box(np.asarray(mask.pixels > 0))) for mask in masks]
    filled = [(shape, box) for shape, box in boxes if box is not None]
    if not filled:
        raise SlideError("its mask is empty", "get the mask again")
    (height, width), box = max(filled, key=lambda entry: entry[0])
    down, across = picture.pixels.shape[0] / height, picture.pixels.shape[1] / width
    if abs(down / across - 1) > SAME_SHAPE:
        raise SlideError(
            f"its mask has {width} x {height} px, its mammogram {picture.pixels.shape[1]} x "
            f"{picture.pixels.shape[0]}: another shape",
            "check that they belong together",
        )
    return Box(box.x * across, box.y * down, box.width * across, box.height * down)
