"""Find CBIS-DDSM on disk: its four description CSVs and the DICOM folders as TCIA hands them out.

What the set has that a reader must know: path fields hold line breaks; mass files say
`breast_density`, calcification files `breast density`; folders are named after the lesion, and what
lies below differs with the program that fetched it; files called "ROI mask" and "cropped" are
swapped in places, so a mask is known by its content: two values at most; masks may be of another
size than their mammogram. Paths of the CSVs are never opened: only the name of the first folder is
taken from them, and looked up among the folders that are there.

Source: Lee et al. 2017, "A curated mammography data set for use in computer-aided detection and
diagnosis research": 1,696 masses and 1,872 groups of calcifications.
"""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple
from zlib import crc32

import numpy as np

from wsikit.errors import SlideError, UsageError
from wsikit.slides.grey_dicom import GreyPicture, read_grey_dicom
from wsikit.stages.ingest.collection import Collection, DataSet, LeftOut, Source
from wsikit.stages.ingest.mammogram import CutOptions, breast_picture, lesion_pictures
from wsikit.stages.ingest.splits import SplitKind, published_split, split_images
from wsikit.tissue.breast import mask_box
from wsikit.types import Box

Abnormality = Literal["mass", "calc", "both"]

LABELS = {
    "MALIGNANT": "malignant",
    "BENIGN": "benign",
    "BENIGN_WITHOUT_CALLBACK": "benign",
}

VAL_SHARE = 0.2
"""Share of the published training patients that validate."""

IMAGE_SHARES: dict[str, tuple[float, float, float]] = {
    "patches": (0.8, 0.1, 0.1),
    "rois": (0.8, 0.1, 0.1),
    "whole": (0.6, 0.2, 0.2),
}
"""How papers split single pictures."""

SAME_SHAPE = 0.05
"""A mask whose sides relate otherwise than its mammogram's, by more than this, is another's."""

MAX_CSV_BYTES = 64_000_000

_CSV = re.compile(r"(mass|calc)_case_description_(train|test)_set.*\.csv", re.IGNORECASE)
_FOLDER = re.compile(
    r"(?P<image>(?P<kind>Mass|Calc)-(?P<side>Training|Test)_(?P<patient>P_\d{1,8})"
    r"_(?P<breast>LEFT|RIGHT)_(?P<view>CC|MLO))(?:_(?P<number>\d{1,3}))?"
)
_NEEDED = ("patient id", "left or right breast", "image view", "abnormality id", "pathology")


@dataclass(frozen=True)
class CbisOptions:
    """What is taken of CBIS-DDSM.

    Attributes:
        cut: how pictures are cut.
        abnormality: masses, calcifications, or both.
        split: `patient`: none, training splits by patient; `published`: the set's own test side;
            `images`: of single pictures.
        seed: of these splits.
        tables: folder of the CSVs; None: in or below the data set's own.
    """

    cut: CutOptions = field(default_factory=CutOptions)
    abnormality: Abnormality = "mass"
    split: SplitKind = "patient"
    seed: int = 0
    tables: Path | None = None


class Lesion(NamedTuple):
    """One row of a description CSV.

    Attributes:
        folder: name of its folder of masks, such as `Mass-Training_P_00001_LEFT_CC_1`.
        image: name of its mammogram's folder: the same without the number.
        patient_id: such as `P_00001`.
        kind: `mass` or `calc`.
        published: `train` or `test`.
        view: `CC` or `MLO`.
        breast: `LEFT` or `RIGHT`.
        number: among the lesions of its mammogram.
        label: `benign` or `malignant`.
    """

    folder: str
    image: str
    patient_id: str
    kind: str
    published: str
    view: str
    breast: str
    number: int
    label: str


def find_cbis_ddsm(folder: Path, options: CbisOptions | None = None) -> DataSet:
    """Find the lesions and mammograms of CBIS-DDSM in a folder and below it.

    Args:
        folder: what was fetched from TCIA, the CSVs in it or below it.
        options: what is taken.

    Raises:
        UsageError: there is no such folder, or it has no description CSV.
    """
    options = options or CbisOptions()
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder", "give the folder of CBIS-DDSM")
    lesions, left_out = read_descriptions(options.tables or folder, options.abnormality)
    folders = _dicom_folders(folder, options.abnormality)
    lesions = _present(lesions, folders, left_out)
    left_out += _undescribed(folders, lesions)
    make = _whole_sources if options.cut.kind == "whole" else _lesion_sources
    sources, broken = make(lesions, folders, options)
    sides, words = _split(sources, lesions, options)
    sources = [
        Source(s.slide_id, s.patient_id, s.label, s.files, s.open, s.settings,
               {**s.columns, "split": sides[s.slide_id]} if sides else s.columns)
        for s in sources
    ]  # fmt: skip
    recipe = options.cut.recipe()
    return DataSet("cbis-ddsm", sources, recipe, left_out, broken, split=words)


def read_descriptions(
    folder: Path, abnormality: Abnormality = "mass"
) -> tuple[list[Lesion], list[LeftOut]]:
    """Read the description CSVs that lie in a folder or below it.

    Args:
        folder: where they lie.
        abnormality: which of them.

    Returns:
        The lesions in the order of the files, and rows that cannot be used.

    Raises:
        UsageError: there are none, or one is no such CSV.
    """
    wanted = ("mass", "calc") if abnormality == "both" else (abnormality,)
    tables = sorted(
        (match[1].lower(), path)
        for path in _files(folder)
        if (match := _CSV.fullmatch(path.name)) and match[1].lower() in wanted
    )
    if not tables:
        kinds = " or ".join(wanted)
        raise UsageError(
            f"{folder}: holds no {kinds}_case_description_*_set.csv",
            "put the data set's CSVs there, or give their folder with --csv",
        )
    lesions: dict[str, Lesion] = {}
    left_out: list[LeftOut] = []
    by_name = {path.name: path for _, path in reversed(tables)}  # of copies, one is read
    for path in by_name.values():
        for line, row in _rows(path):
            lesion = _lesion(row)
            where = f"{path.name}, line {line}"
            if lesion is None:
                left_out.append(LeftOut(where, "does not name a lesion and its pathology"))
            elif lesion.folder in lesions:
                left_out.append(LeftOut(where, f"{lesion.folder} stands twice"))
            else:
                lesions[lesion.folder] = lesion
    return list(lesions.values()), left_out


def _files(folder: Path) -> list[Path]:
    """List all files below a folder, links to folders not followed."""
    found = [Path(top, name) for top, _, names in os.walk(folder) for name in names]
    return sorted(path for path in found if not path.name.startswith("."))


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV whose fields may hold line breaks; names lower case, `_` as a space."""
    try:
        if path.stat().st_size > MAX_CSV_BYTES:
            raise UsageError(f"{path}: larger than any description CSV", "check the file")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip().lower().replace("_", " ") for name in next(reader, [])]
            missing = [name for name in _NEEDED if name not in header]
            if missing:
                raise UsageError(
                    f"{path}: column '{missing[0]}' is missing", "give the data set's own CSVs"
                )
            return [
                (reader.line_num, dict(zip(header, (cell.strip() for cell in row), strict=False)))
                for row in reader
                if any(cell.strip() for cell in row)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read as CSV ({error})", "check the file") from error


def _lesion(row: Mapping[str, str]) -> Lesion | None:
    """Read a row; the folder's name is taken from its paths, and must agree with its columns."""
    paths = (row.get(name, "") for name in ("roi mask file path", "cropped image file path"))
    names = (path.replace("\\", "/").partition("/")[0].strip() for path in paths)
    match = next((m for m in map(_FOLDER.fullmatch, names) if m and m["number"]), None)
    label = LABELS.get(row.get("pathology", "").upper())
    if match is None or label is None:
        return None
    stated = (row.get("patient id"), row.get("left or right breast"), row.get("image view"))
    if stated != (match["patient"], match["breast"], match["view"]):
        return None
    return Lesion(
        folder=match[0],
        image=match["image"],
        patient_id=match["patient"],
        kind=match["kind"].lower(),
        published="train" if match["side"] == "Training" else "test",
        view=match["view"],
        breast=match["breast"],
        number=int(match["number"]),
        label=label,
    )


Folders = Mapping[str, Sequence[Path]]


def _dicom_folders(folder: Path, abnormality: Abnormality) -> Folders:
    """Return the DICOM files below each folder that is named after a lesion or a mammogram."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in _files(folder):
        if path.suffix.lower() != ".dcm":
            continue
        for part in reversed(path.relative_to(folder).parts[:-1]):
            match = _FOLDER.fullmatch(part)
            if match and abnormality in ("both", match["kind"].lower()):
                found[part].append(path)
                break
    return found


def _present(lesions: Sequence[Lesion], folders: Folders, left_out: list[LeftOut]) -> list[Lesion]:
    """Drop whole sides of the set of which nothing was fetched, with one line each."""
    kept: list[Lesion] = []
    for key in sorted({(lesion.kind, lesion.published) for lesion in lesions}):
        side = [lesion for lesion in lesions if (lesion.kind, lesion.published) == key]
        if any(name in folders for lesion in side for name in (lesion.folder, lesion.image)):
            kept += side
        else:
            name = f"{key[0]}_case_description_{key[1]}_set"
            left_out.append(LeftOut(name, f"none of its {len(side)} lesions is here"))
    return kept


def _undescribed(folders: Folders, lesions: Iterable[Lesion]) -> list[LeftOut]:
    """List folders that no row names; of a side that has no CSV at all, in one line."""
    known = {name for lesion in lesions for name in (lesion.folder, lesion.image)}
    sides = {lesion.folder.partition("_")[0] for lesion in lesions}
    unknown = sorted(set(folders) - known)
    lines = []
    for side in sorted({name.partition("_")[0] for name in unknown}):
        own = [name for name in unknown if name.partition("_")[0] == side]
        if side in sides:
            lines += [LeftOut(name, "no row of the CSVs names it") for name in own]
        else:
            lines.append(LeftOut(side, f"{len(own)} folders and no description CSV of them"))
    return lines


def _lesion_sources(
    lesions: Sequence[Lesion], folders: Folders, options: CbisOptions
) -> tuple[list[Source], dict[str, str]]:
    sources, broken = [], {}
    for lesion in lesions:
        if lesion.image not in folders:
            broken[lesion.folder] = f"its mammogram {lesion.image} is missing"
        elif lesion.folder not in folders:
            broken[lesion.folder] = "it has no mask: the folder is missing"
        else:
            sources.append(_lesion_source(lesion, folders, options))
    return sources, broken


def _lesion_source(lesion: Lesion, folders: Folders, options: CbisOptions) -> Source:
    image, masks = tuple(folders[lesion.image]), tuple(folders[lesion.folder])
    return Source(
        slide_id=lesion.folder,
        patient_id=lesion.patient_id,
        label=lesion.label,
        files=(*image, *masks),
        open=partial(_open_lesion, lesion, image, masks, options.cut),
        settings={"lesion": lesion.folder},
        columns=_columns(lesion),
    )


def _whole_sources(
    lesions: Sequence[Lesion], folders: Folders, options: CbisOptions
) -> tuple[list[Source], dict[str, str]]:
    """Make a source of each mammogram; it is malignant where any of its lesions is."""
    by_image: dict[str, list[Lesion]] = defaultdict(list)
    for lesion in lesions:
        by_image[lesion.image].append(lesion)
    sources, broken = [], {}
    for name, own in by_image.items():
        if name not in folders:
            broken[name] = "the mammogram is missing"
            continue
        masks = {lesion.folder: tuple(folders.get(lesion.folder, ())) for lesion in own}
        malignant = any(lesion.label == "malignant" for lesion in own)
        sources.append(
            Source(
                slide_id=name,
                patient_id=own[0].patient_id,
                label="malignant" if malignant else "benign",
                files=(*folders[name], *(path for paths in masks.values() for path in paths)),
                open=partial(_open_whole, own[0], tuple(folders[name]), masks, options.cut),
                settings={"lesions": [lesion.folder for lesion in own]},
                columns=_columns(own[0]),
            )
        )
    return sources, broken


def _columns(lesion: Lesion) -> dict[str, str]:
    return {"abnormality": lesion.kind, "view": lesion.view, "side": lesion.breast.lower()}


def _split(
    sources: Sequence[Source], lesions: Sequence[Lesion], options: CbisOptions
) -> tuple[dict[str, str], str]:
    if options.split == "patient" or not sources:
        return {}, ""
    if options.split == "images":
        labels = {s.slide_id: s.label for s in sources}
        return split_images(labels, IMAGE_SHARES[options.cut.kind], options.seed)
    published = {n: each.published for each in lesions for n in (each.folder, each.image)}
    return published_split(
        {s.slide_id: published[s.slide_id] for s in sources},
        {s.slide_id: s.patient_id for s in sources},
        VAL_SHARE,
        options.seed,
    )


def _open_lesion(
    lesion: Lesion, image: tuple[Path, ...], masks: tuple[Path, ...], cut: CutOptions
) -> Collection:
    picture = _mammogram(image)
    box = _lesion_box(masks, picture)
    facts = {"abnormality": f"{lesion.kind} {lesion.number}", **_facts(lesion)}
    return lesion_pictures(picture, box, cut, [crc32(lesion.folder.encode())], facts)


def _open_whole(
    lesion: Lesion,
    image: tuple[Path, ...],
    masks: Mapping[str, tuple[Path, ...]],
    cut: CutOptions,
) -> Collection:
    """Cut out the breast; a lesion without a usable mask costs its box, not the picture."""
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
        folder = next((part for part in reversed(path.parts[:-1]) if _FOLDER.fullmatch(part)), "")
        raise SlideError(f"{folder}/.../{error.what}", error.fix) from error


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
