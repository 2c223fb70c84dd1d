"""Which files make up a slide."""

from __future__ import annotations

import configparser
from pathlib import Path

from wsikit.errors import SlideError

DICOM_SUFFIX = ".dcm"

_INDEX_SUFFIXES = (".vms", ".vmu")
_INDEX_BYTES = 1 << 20


def slide_files(path: Path) -> list[Path]:
    """List every file whose content decides what a slide's pixels are.

    Args:
        path: a slide. One file is itself; `x.mrxs` goes with all files of the folder `x`; `.vms`
            and `.vmu` go with the files they name; DICOM, as a folder or as one file of it, is
            every `.dcm` of the folder, since readers join the files of a series by themselves.

    Returns:
        The given file first, then the others by name.

    Raises:
        SlideError: the slide does not exist or its folder cannot be listed.
    """
    suffix = path.suffix.lower()
    try:
        if path.is_dir():
            return dicom_files(path)
        if not path.is_file():
            raise SlideError(f"{path.name}: there is no such file", "check the path")
        if suffix == DICOM_SUFFIX:
            return dicom_files(path.parent)
        if suffix == ".mrxs":
            folder = path.with_suffix("")
            return [path, *sorted(file for file in folder.rglob("*") if file.is_file())]
        if suffix in _INDEX_SUFFIXES:
            return [path, *_named_in_index(path)]
    except OSError as error:
        raise unreadable(path, error) from error
    return [path]


def dicom_files(folder: Path) -> list[Path]:
    """List the DICOM files of a folder by name, hidden ones left out."""
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() == DICOM_SUFFIX and not file.name.startswith(".") and file.is_file()
    )


def unreadable(path: Path, error: OSError) -> SlideError:
    """Return the error for a slide that the operating system does not let us read."""
    reason = error.strerror or type(error).__name__
    return SlideError(f"{path.name}: {reason}", "check that the file is there and readable")


def _named_in_index(index: Path) -> list[Path]:
    """List the files beside a Hamamatsu index file that it names."""
    with index.open(encoding="latin-1") as file:
        text = file.read(_INDEX_BYTES)
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return []
    values = {value for section in parser.values() for value in section.values() if value}
    named = [index.parent / value for value in sorted(values) if Path(value).name == value]
    return [file for file in named if file.is_file()]
