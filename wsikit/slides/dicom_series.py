"""Name the series a DICOM file belongs to."""

from __future__ import annotations

import warnings
from pathlib import Path

import pydicom

from wsikit.slides.bounded_file import BoundedFile

_WANTED = ["SeriesInstanceUID"]


def series_of(file: Path) -> str | None:
    """Return a file's SeriesInstanceUID, empty where it states none; None where it is damaged."""
    try:
        with BoundedFile(file) as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that break the standard but are not used
            header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=_WANTED)
            return str(header.get("SeriesInstanceUID", ""))
    except Exception:  # a parser of untrusted bytes may raise anything
        return None
