"""Find pictures that are of no known data set: a folder, or a CSV that says what each one is."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from wsikit.errors import CohortError, SlideError, UsageError
from wsikit.slides.find import default_slide_id
from wsikit.stages.cohort import parse_mpp, read_rows
from wsikit.stages.ingest.collection import Collection, DataSet, LeftOut, Source, size_recipe
from wsikit.stages.ingest.picture_file import (
    PICTURE_SUFFIXES,
    alike,
    commonest_size,
    fitted,
    picture_size,
    read_grey,
    read_rgb,
)
from wsikit.store.store import checked_slide_id
from wsikit.types import Mpp, PatchPixels, Size

GREY_SUFFIXES = (".png", ".pgm", ".tif", ".tiff")
COLUMNS = ("label", "patient_id", "site", "split")
"""Columns of a CSV that are the same for all pictures of a slide."""


@dataclass(frozen=True)
class PicturesOptions:
    """How pictures are read.

    Attributes:
        size: (width, height) to resize all of them to; None: they are of one size.
        grey: keep one channel, at its full depth; a file of 16 bits is read no other way.
        mpp: micrometres per pixel of the files; of a CSV its own column goes first.
        patient: a regular expression; what its first group, or all of it, matches in a file's name
            is the patient's id. None: each picture is its own patient, or the CSV says.
    """

    size: Size | None = None
    grey: bool = False
    mpp: Mpp | None = None
    patient: str | None = None


class _Entry(NamedTuple):
    """A picture that was named."""

    path: Path
    slide_id: str
    columns: Mapping[str, str]
    mpp: Mpp | None
    size: Size


def find_pictures(given: Path, options: PicturesOptions | None = None) -> DataSet:
    """Find pictures in a folder, or by a CSV.

    In a folder each picture is a slide, and the folder it lies in, where that is not the one given,
    is its label. A CSV has a column `picture` (paths, relative to the CSV) and may have
    `slide_id`, `patient_id`, `label`, `site`, `split` and `mpp`; pictures of one `slide_id` are
    stacked in the order of the rows.

    Raises:
        UsageError: there is no such folder or file, or the pattern is none.
        CohortError: the CSV is wrong.
    """
    options = options or PicturesOptions()
    left_out: list[LeftOut] = []
    if given.is_dir():
        named = _of_folder(given, options, left_out)
    elif given.is_file():
        named = _of_csv(given, options)
    else:
        raise UsageError(f"{given}: there is no such folder or file", "give pictures or a CSV")
    entries = _measured(named, options, left_out)
    size = options.size or (commonest_size([e.size for e in entries]) if entries else Size(1, 1))
    if options.size is None:
        entries = _of_size(entries, size, left_out)
    groups: dict[str, list[_Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.slide_id].append(entry)
    sources = [_source(slide_id, own, size, options) for slide_id, own in groups.items()]
    resized = options.size is not None
    recipe = {**size_recipe(size), "resized": resized, "grey": options.grey}
    return DataSet("pictures", sources, recipe, left_out, split=_said(sources))


def _of_folder(folder: Path, options: PicturesOptions, left_out: list[LeftOut]) -> list[_Entry]:
    suffixes = GREY_SUFFIXES if options.grey else PICTURE_SUFFIXES
    named: dict[str, _Entry] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        where = str(path.relative_to(folder))
        if path.name.startswith("."):
            continue
        if path.suffix.lower() not in suffixes:
            left_out.append(LeftOut(where, f"none of {', '.join(suffixes)}"))
            continue
        slide_id = default_slide_id(path)
        if slide_id in named:
            other = named[slide_id].path.relative_to(folder)
            left_out.append(LeftOut(where, f"would be slide '{slide_id}', as {other} is"))
            continue
        label = path.parent.name if path.parent != folder else ""
        columns = {"label": label, "patient_id": _patient(path, slide_id, options)}
        named[slide_id] = _Entry(path, slide_id, columns, options.mpp, Size(0, 0))
    return list(named.values())


def _patient(path: Path, slide_id: str, options: PicturesOptions) -> str:
    if options.patient is None:
        return slide_id
    try:
        match = re.search(options.patient, path.name)
    except re.error as error:
        raise UsageError(f"--patient {options.patient}: {error}", "write a pattern") from error
    if match is None:
        return slide_id
    return (match[1] if match.re.groups else match[0]) or slide_id


def _of_csv(path: Path, options: PicturesOptions) -> list[_Entry]:
    table = read_rows(path)
    if "picture" not in table:
        raise CohortError(
            f"{path}: column 'picture' is missing; it has {', '.join(table.columns)}",
            "name the column of paths 'picture'",
        )
    entries: list[_Entry] = []
    first: dict[str, dict[str, str]] = {}
    for line, row in enumerate(table.to_dict("records"), start=2):
        picture = Path(str(row["picture"]))
        slide_id = str(row.get("slide_id") or default_slide_id(picture))
        where = f"{path}, line {line}"
        try:
            checked_slide_id(slide_id)
        except UsageError as error:
            raise CohortError(f"{where}: {error.what}", error.fix) from None
        columns = {name: str(row.get(name) or "") for name in COLUMNS}
        columns["patient_id"] = columns["patient_id"] or _patient(picture, slide_id, options)
        if first.setdefault(slide_id, columns) != columns:
            raise CohortError(
                f"{where}: slide '{slide_id}' has another {_differing(first[slide_id], columns)} "
                "than in the rows before",
                "give all pictures of a slide the same",
            )
        mpp = parse_mpp(str(row.get("mpp") or ""), where) or options.mpp
        entries.append(_Entry(path.parent / picture, slide_id, columns, mpp, Size(0, 0)))
    return entries


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    return next(name for name in one if one[name] != other[name])


def _measured(
    named: Sequence[_Entry], options: PicturesOptions, left_out: list[LeftOut]
) -> list[_Entry]:
    """Look at every picture; what cannot be read is left out by name."""
    entries = []
    for entry in named:
        try:
            if options.grey:
                height, width = read_grey(entry.path)[0].shape
                size = Size(width, height)
            else:
                size = picture_size(entry.path)
            entries.append(entry._replace(size=size))
        except SlideError as error:
            left_out.append(
                LeftOut(entry.path.name, error.what.removeprefix(f"{entry.path.name}: "))
            )
    return entries


def _of_size(entries: Sequence[_Entry], size: Size, left_out: list[LeftOut]) -> list[_Entry]:
    kept = []
    for entry in entries:
        if alike(entry.size, size):
            kept.append(entry)
        else:
            own, most = (f"{s.width} x {s.height} px" for s in (entry.size, size))
            left_out.append(
                LeftOut(entry.path.name, f"is {own}, most are {most}: resize them with --size")
            )
    return kept


def _source(
    slide_id: str, entries: Sequence[_Entry], size: Size, options: PicturesOptions
) -> Source:
    columns = entries[0].columns
    more = {name: columns[name] for name in ("site", "split") if columns.get(name)}
    mpps = {entry.mpp for entry in entries}
    return Source(
        slide_id=slide_id,
        patient_id=columns["patient_id"],
        label=columns["label"],
        files=tuple(entry.path for entry in entries),
        open=partial(_open, tuple(entries), size, options),
        settings={"mpp": sorted(list(mpp) for mpp in mpps if mpp)},
        columns=more,
    )


def _open(entries: tuple[_Entry, ...], size: Size, options: PicturesOptions) -> Collection:
    mpps = {entry.mpp for entry in entries}
    if len(mpps) > 1:
        raise SlideError("its pictures have several mpp", "give each mpp a slide_id of its own")
    whites = {read_grey(entry.path)[1] for entry in entries} if options.grey else {255}
    if len(whites) > 1:
        raise SlideError("its pictures have 8 and 16 bits", "give them slide ids of their own")
    return Collection(
        size=size,
        facts=[{"width": e.size.width, "height": e.size.height} for e in entries],
        read=lambda number: _pixels(entries[number].path, size, options),
        grey=options.grey,
        max_value=whites.pop(),
        mpp=_mpp(entries, size, options),
    )


def _mpp(entries: Sequence[_Entry], size: Size, options: PicturesOptions) -> Mpp | None:
    """Return micrometres per pixel after resizing; unknown where pictures shrink unequally."""
    mpp, sizes = entries[0].mpp, {entry.size for entry in entries}
    if mpp is None or options.size is None:
        return mpp
    if len(sizes) > 1:
        return None
    own = sizes.pop()
    return Mpp(mpp.x * own.width / size.width, mpp.y * own.height / size.height)


def _pixels(path: Path, size: Size, options: PicturesOptions) -> PatchPixels:
    pixels: PatchPixels = read_grey(path)[0][..., None] if options.grey else read_rgb(path)
    if options.size is None:
        return fitted(pixels, size, path.name)
    if not options.grey:
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
    deep = Image.fromarray(pixels[..., 0].astype(np.float32))
    resized = np.asarray(deep.resize(size, Image.Resampling.BILINEAR))
    grey: PatchPixels = np.clip(np.rint(resized), 0, 65535).astype(np.uint16)
    return grey[..., None]


def _said(sources: Sequence[Source]) -> str:
    return "the CSV's own column" if any("split" in s.columns for s in sources) else ""
