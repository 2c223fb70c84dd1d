"""Find DICOM slides whose header states RGB while their JPEG frames hold YCbCr.

Some converters write such files. Readers that trust the frame show them rightly; OpenSlide trusts
the header, as the standard asks, and shows glass in salmon.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom.encaps import generate_fragments
from pydicom.errors import InvalidDicomError
from pydicom.uid import JPEGBaseline8Bit

from wsikit.slides.bounded_file import BoundedFile
from wsikit.slides.codestream import jpeg_is_subsampled
from wsikit.types import Size

_WANTED = ["SeriesInstanceUID", "TotalPixelMatrixColumns", "TotalPixelMatrixRows"]


def frames_are_ycbcr(files: Sequence[Path], series: str, size_l0: Size) -> bool:
    """Tell whether the level-0 frames of a series stated to be RGB must be YCbCr.

    The evidence is chroma kept at less than full resolution, which makes no sense in RGB; a stream
    at full resolution is taken as the header says.

    Args:
        files: DICOM files, among them that of level 0.
        series: the series' unique identifier.
        size_l0: (width, height) of level 0, by which its file is known.
    """
    for file in files:
        try:
            frame = _first_frame(file, series, size_l0)
            if frame is not None:
                return jpeg_is_subsampled(frame)
        except (InvalidDicomError, OSError, ValueError, TypeError, AttributeError):
            continue  # not readable as DICOM: OpenSlide did not take it either
    return False


def _first_frame(file: Path, series: str, size_l0: Size) -> bytes | None:
    """Return the first JPEG frame of a file, if it is level 0 of the series."""
    with BoundedFile(file) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that break the standard but are not used
        header: Any = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=_WANTED)
        size = (header.TotalPixelMatrixColumns, header.TotalPixelMatrixRows)
        if header.SeriesInstanceUID != series or size != size_l0:
            return None
        if header.file_meta.TransferSyntaxUID != JPEGBaseline8Bit:
            return None
        stream.seek(12, 1)  # the tag, kind and length of the pixel data
        fragments = generate_fragments(stream)
        next(fragments)  # the offset table
        return next(fragments)
