"""Read a DICOM file of one grey picture, as mammograms are, at its full depth.

Nothing but pixels and their spacing is taken from it: names, dates and numbers of patients stay in
the file.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from wsikit.errors import SlideError
from wsikit.slides.bounded_file import BoundedFile
from wsikit.types import Mpp

MAX_PX = 100_000_000
"""Pixels of the largest picture read; a mammogram has 10 to 30 million."""

UNCOMPRESSED = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)

_WANTED = [
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelSpacing",
    "ImagerPixelSpacing", "PixelData",
]  # fmt: skip


_STATED = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PhotometricInterpretation")


class GreyPicture(NamedTuple):
    """A grey picture, bright where its tissue is dense.

    Attributes:
        pixels: (H, W) uint16.
        max_value: what white is: 255, 4095, 65535, as the file's own depth allows.
        mpp: micrometres per pixel; None where the file does not say.
    """

    pixels: NDArray[np.uint16]
    max_value: int
    mpp: Mpp | None = None


def read_grey_dicom(path: Path) -> GreyPicture:
    """Read the picture of a DICOM file; MONOCHROME1 is inverted.

    Memory is bounded by the file's length: only uncompressed pixels are read, none that the file
    does not hold.

    Raises:
        SlideError: it is no DICOM file, holds no pixels, or none of one grey channel.
    """
    try:
        with BoundedFile(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that break the standard but are not used
            _check_syntax(file, path.name)
            file.seek(0)
            header: Any = pydicom.dcmread(file, specific_tags=_WANTED)
            return _picture(header, path.name)
    except SlideError:
        raise
    except InvalidDicomError as error:
        raise SlideError(f"{path.name}: not a DICOM file", "get the file again") from error
    except OSError as error:
        words = error.strerror or type(error).__name__
        raise SlideError(f"{path.name}: cannot be read ({words})", "check the file") from error
    except Exception as error:  # a parser of untrusted bytes may raise anything
        raise SlideError(
            f"{path.name}: not a DICOM file that can be read ({error})", "get the file again"
        ) from error


def _check_syntax(file: BoundedFile, name: str) -> None:
    """Refuse compressed files before they are read: a few bytes may stand for gigabytes."""
    read_preamble(file, force=False)
    syntax = _read_file_meta_info(file).get("TransferSyntaxUID")
    if syntax not in UNCOMPRESSED:
        known = getattr(syntax, "name", syntax) or "not stated"
        raise SlideError(
            f"{name}: its pixels are compressed ({known})",
            "decompress it, for instance by gdcmconv --raw",
        )


def _picture(header: Any, name: str) -> GreyPicture:
    if "PixelData" not in header:
        raise SlideError(f"{name}: a DICOM file without pixels", "get the file again")
    missing = [tag for tag in _STATED if tag not in header]
    if missing:
        raise SlideError(f"{name}: does not state its {missing[0]}", "get the file again")
    rows, cols = int(header.Rows), int(header.Columns)
    allocated, stored = int(header.BitsAllocated), int(header.BitsStored)
    kind = str(header.PhotometricInterpretation)
    grey = int(header.get("SamplesPerPixel", 1)) == 1 and kind in ("MONOCHROME1", "MONOCHROME2")
    if not grey or int(header.get("NumberOfFrames", 1) or 1) != 1:
        raise SlideError(f"{name}: not one grey picture ({kind})", "give mammograms")
    if allocated not in (8, 16) or not 1 <= stored <= allocated:
        raise SlideError(f"{name}: {stored} of {allocated} bits a pixel", "give 8 or 16 bits")
    if int(header.get("HighBit", stored - 1)) != stored - 1 or header.get("PixelRepresentation", 0):
        raise SlideError(f"{name}: its pixels are signed or shifted", "give unsigned pixels")
    if min(rows, cols) < 1 or rows * cols > MAX_PX:
        raise SlideError(f"{name}: a picture of {cols} x {rows} px", "give one of a sensible size")
    needed = rows * cols * allocated // 8
    if len(header.PixelData) < needed:
        raise SlideError(
            f"{name}: holds {len(header.PixelData)} of {needed} bytes of pixels",
            "get the file again",
        )
    raw = np.frombuffer(header.PixelData, f"<u{allocated // 8}", rows * cols).reshape(rows, cols)
    white = (1 << stored) - 1
    pixels = np.minimum(raw, white).astype(np.uint16)
    return GreyPicture(white - pixels if kind == "MONOCHROME1" else pixels, white, _mpp(header))


def _mpp(header: Any) -> Mpp | None:
    """Return micrometres per pixel; DICOM states rows first, in mm."""
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        try:
            y, x = (float(part) * 1000 for part in header[name].value)
        except (KeyError, TypeError, ValueError):
            continue
        if all(math.isfinite(part) and part > 0 for part in (x, y)):
            return Mpp(x, y)
    return None
