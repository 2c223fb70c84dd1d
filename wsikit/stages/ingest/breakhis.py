"""Find BreakHis on disk: the published tree, or its files in a flat folder.

A file's name says all there is to know: `SOB_<B|M>_<type>-<year>-<slide>-<magnification>-<n>.png`;
folders are not believed, but one that contradicts the name is told of. One specimen slide at one
magnification is one slide of the store.

Source: Spanhol et al. 2016, "A dataset for breast cancer histopathological image classification":
7,909 pictures of 82 patients; um per pixel from the camera's 6.5 um, the 3.3x relay lens and the
objectives of 4, 10, 20 and 40x. Slide 13412 is in the set twice, as ductal and as lobular
carcinoma.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from string import ascii_uppercase
from typing import Literal, NamedTuple

from wsikit.errors import SlideError, UsageError
from wsikit.stages.ingest.collection import Collection, DataSet, LeftOut, Source, size_recipe
from wsikit.stages.ingest.picture_file import alike, commonest_size, picture_size, read_rgb_of
from wsikit.stages.ingest.splits import SplitKind, split_images
from wsikit.types import Mpp, Size

CLASSES = {"B": "benign", "M": "malignant"}
TYPES = {
    "A": "adenosis", "F": "fibroadenoma", "PT": "phyllodes_tumor", "TA": "tubular_adenoma",
    "DC": "ductal_carcinoma", "LC": "lobular_carcinoma", "MC": "mucinous_carcinoma",
    "PC": "papillary_carcinoma",
}  # fmt: skip
"""Code in a file's name -> name of the type, as the published tree names its folder."""

CLASS_OF_TYPE = dict.fromkeys(("A", "F", "PT", "TA"), "B") | dict.fromkeys(
    ("DC", "LC", "MC", "PC"), "M"
)

MPP = {40: 6.5 / (3.3 * 4), 100: 6.5 / (3.3 * 10), 200: 6.5 / (3.3 * 20), 400: 6.5 / (3.3 * 40)}
"""Magnification -> micrometres per pixel: 0.49, 0.20, 0.10, 0.05."""

DOUBLE_LABELLED = "14-13412"
"""The slide that the published set holds under two diagnoses."""

_NAME = re.compile(
    r"SOB_(?P<cls>[BM])_(?P<type>A|F|PT|TA|DC|LC|MC|PC)-(?P<year>\d{2})-(?P<slide>\d{1,8}[A-Z]{0,4})"
    r"-(?P<mag>40|100|200|400)-(?P<seq>\d{3,4})\.png",
    re.IGNORECASE,
)

Patients = Literal["slide", "case"]


@dataclass(frozen=True)
class BreakHisOptions:
    """What is taken of BreakHis.

    Attributes:
        magnifications: only these of 40, 100, 200, 400; empty for all.
        keep_double_labelled: take slide 13412 too, under each of its diagnoses.
        label: `class`: benign or malignant; `type`: one of eight.
        patients: `slide`: a patient a slide number, as the set's authors count 82; `case`: numbers
            that differ in their letters alone, such as 22549AB and 22549CD, are one.
        split: `patient`: none, training splits by patient; `images`: 80/10/10 of single pictures.
        seed: of that split.
    """

    magnifications: Sequence[int] = ()
    keep_double_labelled: bool = False
    label: Literal["class", "type"] = "class"
    patients: Patients = "slide"
    split: SplitKind = "patient"
    seed: int = 0


class BreakHisName(NamedTuple):
    """What a file's name says.

    Attributes:
        cls: `B` or `M`.
        type: a key of `TYPES`.
        slide: year and number, such as `14-22549AB`.
        magnification: 40, 100, 200 or 400.
        sequence: number of the picture.
    """

    cls: str
    type: str
    slide: str
    magnification: int
    sequence: int


class _Picture(NamedTuple):
    path: Path
    name: BreakHisName
    size: Size


def parse_name(name: str) -> BreakHisName | None:
    """Read a file name of BreakHis; None where it is none, or its class and type disagree."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    cls, kind = match["cls"].upper(), match["type"].upper()
    if CLASS_OF_TYPE[kind] != cls:
        return None
    slide = f"{match['year']}-{match['slide'].upper()}"
    return BreakHisName(cls, kind, slide, int(match["mag"]), int(match["seq"]))


def find_breakhis(folder: Path, options: BreakHisOptions | None = None) -> DataSet:
    """Find the pictures of BreakHis in a folder and below it.

    Args:
        folder: holds `BreaKHis_v1`, is it, or holds the files themselves.
        options: what is taken.

    Raises:
        UsageError: there is no such folder.
    """
    options = options or BreakHisOptions()
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder", "give the folder of BreakHis")
    pictures, left_out = _pictures(folder, options)
    size = commonest_size([p.size for p in pictures]) if pictures else Size(700, 460)
    kept = []
    for picture in pictures:
        if alike(picture.size, size):
            kept.append(picture)
        else:
            own, most = (f"{s.width} x {s.height} px" for s in (picture.size, size))
            reason = f"is {own}, most are {most}"
            left_out.append(LeftOut(picture.path.name, reason))
    sources, split = _sources(kept, size, options)
    odd = sum(p.size != size for p in kept)
    words = f"{odd} pictures are" if odd > 1 else "1 picture is"
    notes = [f"{words} not {size[0]} x {size[1]} px: filled up or cut"] if odd else []
    recipe = {**size_recipe(size), "images": options.split == "images"}
    return DataSet("breakhis", sources, recipe, left_out, notes=notes, split=split)


def _pictures(folder: Path, options: BreakHisOptions) -> tuple[list[_Picture], list[LeftOut]]:
    """Look at every file; what is not a picture of the set, or not wanted, is left out by name."""
    found: list[_Picture] = []
    left_out: list[LeftOut] = []
    paths: dict[str, Path] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if path.name.startswith("."):
            continue
        where = str(path.relative_to(folder))
        name = parse_name(path.name)
        if name is None:
            left_out.append(LeftOut(where, "not a file name of BreakHis"))
            continue
        reason = _why_not(path, folder, name, options) or (
            f"the same name as {paths[path.name].relative_to(folder)}" if path.name in paths else ""
        )
        if reason:
            left_out.append(LeftOut(where, reason))
            continue
        paths[path.name] = path
        try:
            found.append(_Picture(path, name, picture_size(path)))
        except SlideError as error:
            left_out.append(LeftOut(where, error.what.removeprefix(f"{path.name}: ")))
    return _without_doubles(found, options, left_out), left_out


def _why_not(path: Path, folder: Path, name: BreakHisName, options: BreakHisOptions) -> str:
    if options.magnifications and name.magnification not in options.magnifications:
        return f"{name.magnification}x was not asked for"
    own = CLASSES[name.cls]
    parts = {part.lower() for part in path.relative_to(folder).parts[:-1]}
    for other in set(CLASSES.values()) - {own}:
        if other in parts and own not in parts:
            return f"its name says {own}, its folder {other}"
    return ""


def _doubtful(names: Sequence[BreakHisName]) -> set[str]:
    """Return the slides that stand under two diagnoses, here or in the published set."""
    types: dict[str, set[str]] = defaultdict(set)
    for name in names:
        types[name.slide].add(name.type)
    return {slide for slide, own in types.items() if len(own) > 1} | {DOUBLE_LABELLED}


def _without_doubles(
    found: list[_Picture], options: BreakHisOptions, left_out: list[LeftOut]
) -> list[_Picture]:
    """Leave out slides that stand under two diagnoses, one line a slide."""
    doubtful = _doubtful([p.name for p in found])
    mine = [p for p in found if p.name.slide in doubtful]
    if options.keep_double_labelled or not mine:
        return found
    for slide in sorted({p.name.slide for p in mine}):
        count = sum(p.name.slide == slide for p in mine)
        pictures = "1 picture" if count == 1 else f"{count} pictures"
        reason = f"{pictures}; the set holds this slide under two diagnoses"
        left_out.append(LeftOut(f"slide {slide}", reason))
    return [p for p in found if p.name.slide not in doubtful]


def _sources(
    pictures: Sequence[_Picture], size: Size, options: BreakHisOptions
) -> tuple[list[Source], str]:
    """Group pictures into slides, and split them where that was asked for."""
    groups: dict[str, list[_Picture]] = defaultdict(list)
    twice = _doubtful([p.name for p in pictures])
    for picture in pictures:
        groups[_slide_id(picture.name, twice, options)].append(picture)
    split: dict[str, str] = {}
    words = ""
    if options.split == "images":
        labels = {i: CLASSES[own[0].name.cls] for i, own in groups.items()}
        split, words = split_images(labels, (0.8, 0.1, 0.1), options.seed)
    return [
        _source(slide_id, sorted(own, key=lambda p: p.name.sequence), size, options, split)
        for slide_id, own in sorted(groups.items())
    ], words


def _slide_id(name: BreakHisName, twice: set[str], options: BreakHisOptions) -> str:
    prefix = f"{name.type}-" if name.slide in twice else ""
    tail = f"-{name.sequence:03d}" if options.split == "images" else ""
    return f"{prefix}{name.slide}-{name.magnification}{tail}"


def _source(
    slide_id: str,
    pictures: Sequence[_Picture],
    size: Size,
    options: BreakHisOptions,
    split: dict[str, str],
) -> Source:
    name = pictures[0].name
    patient = name.slide if options.patients == "slide" else name.slide.rstrip(ascii_uppercase)
    columns = {
        "class": CLASSES[name.cls],
        "type": TYPES[name.type],
        "magnification": str(name.magnification),
    }
    if split:
        columns["split"] = split[slide_id]
    return Source(
        slide_id=slide_id,
        patient_id=patient,
        label=columns[options.label],
        files=tuple(p.path for p in pictures),
        open=partial(_open, tuple(pictures), size),
        settings={"sequence": [p.name.sequence for p in pictures]},
        columns=columns,
    )


def _open(pictures: tuple[_Picture, ...], size: Size) -> Collection:
    mpp = MPP[pictures[0].name.magnification]
    return Collection(
        size=size,
        facts=[
            {
                "magnification": p.name.magnification,
                "sequence": p.name.sequence,
                "width": p.size.width,
                "height": p.size.height,
            }
            for p in pictures
        ],
        read=lambda number: read_rgb_of(pictures[number].path, size),
        mpp=Mpp(mpp, mpp),
    )
