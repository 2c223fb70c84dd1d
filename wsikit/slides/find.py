"""Find slides in folders, and name them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from wsikit.errors import UsageError
from wsikit.slides.files import DICOM_SUFFIX, dicom_files

TIFF_SUFFIXES = (".tif", ".tiff", ".svs", ".btf", ".tf8", ".qptiff")

OPENSLIDE_SUFFIXES = (
    ".bif",
    ".czi",
    ".mrxs",
    ".ndpi",
    ".scn",
    ".svslide",
    ".vms",
    ".vmu",
)

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")

SLIDE_SUFFIXES = (*TIFF_SUFFIXES, *OPENSLIDE_SUFFIXES, DICOM_SUFFIX, *PICTURE_SUFFIXES)
"""Suffixes that a search of a folder looks for, in lower case."""

_MAX_ID = 128


def find_slides(paths: Sequence[Path]) -> list[Path]:
    """List the slides that paths amount to.

    A file is taken as given. A folder is searched with all folders below it, by name; hidden
    entries are skipped. A folder of several DICOM files is one slide, a lone DICOM file is itself
    one. The companion folder of an MRXS slide is not entered. Pictures that lie beside slides of
    other kinds are masks or overviews and are left out; name them to have them.

    Args:
        paths: files and folders.

    Returns:
        Each slide once, in the order of `paths`.

    Raises:
        UsageError: a path does not exist, or a folder holds no slides or cannot be listed.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for slide in _slides_of(path):
            found.setdefault(slide.resolve(), slide)
    return list(found.values())


def passed_over_pictures(paths: Sequence[Path]) -> list[Path]:
    """List the pictures that `find_slides` leaves out because slides of other kinds lie beside."""
    taken = {slide.resolve() for slide in find_slides(paths)}
    searched = [path.resolve() for path in paths if path.is_dir()]
    folders = {s.parent for s in taken if any(s.is_relative_to(folder) for folder in searched)}
    return sorted(
        file
        for folder in folders
        for file in folder.iterdir()
        if file.suffix.lower() in PICTURE_SUFFIXES and file.name[0] != "." and file not in taken
    )


def default_slide_id(path: Path) -> str:
    """Return the slide id used where the cohort gives none.

    The file's name without its suffix (`.ome.tif` as a whole), a DICOM folder's own name;
    characters outside `[A-Za-z0-9._-]` become `_`, leading dots and dashes go, and 128 characters
    are kept.
    """
    path = path.absolute()
    stem = path.name
    lower = stem.lower()
    for suffix in (".ome.tiff", ".ome.tif", *SLIDE_SUFFIXES):
        if lower.endswith(suffix) and not path.is_dir():
            stem = stem[: -len(suffix)]
            break
    else:
        stem = stem if path.is_dir() else path.stem
    return re.sub(r"[^A-Za-z0-9._-]", "_", stem).lstrip(".-")[:_MAX_ID] or "slide"


def _slides_of(path: Path) -> list[Path]:
    if not path.exists():
        raise UsageError(f"{path}: there is no such file or folder", "check the path")
    if not path.is_dir():
        return [path]
    slides = list(_search(path, set()))
    if not slides:
        raise UsageError(
            f"{path}: the folder holds no slides",
            f"give a folder with files of {', '.join(SLIDE_SUFFIXES)}",
        )
    return slides


def _search(folder: Path, entered: set[Path]) -> Iterator[Path]:
    """Yield the slides at and below a folder; a link back to an entered folder is not followed."""
    real = folder.resolve()
    if real in entered:
        return
    entered.add(real)
    try:
        entries = sorted(Path(entry) for entry in os.scandir(folder) if entry.name[0] != ".")
        dicom = dicom_files(folder)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}", "make the folder readable") from error
    files = [entry for entry in entries if entry.is_file()]
    yield from [folder] if len(dicom) > 1 else dicom
    yield from _slide_files_of(files, with_pictures=not dicom)
    companions = {file.stem for file in files if file.suffix.lower() == ".mrxs"}
    for entry in entries:
        if entry.is_dir() and entry.name not in companions:
            yield from _search(entry, entered)


def _slide_files_of(files: Sequence[Path], *, with_pictures: bool) -> list[Path]:
    """Keep the slides among the files of one folder, DICOM apart."""
    proper = (*TIFF_SUFFIXES, *OPENSLIDE_SUFFIXES)
    slides = [file for file in files if file.suffix.lower() in proper]
    if slides or not with_pictures:
        return slides
    return [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
