"""Read what OpenSlide reads: MRXS, NDPI, SCN, BIF, CZI, DICOM, Aperio, generic TIFF and others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from openslide import OpenSlide, OpenSlideError, OpenSlideUnsupportedFormatError
from PIL import Image

from wsikit.errors import SlideError
from wsikit.slides.alpha import onto_white
from wsikit.slides.dicom_colour import frames_are_ycbcr
from wsikit.slides.files import dicom_files, slide_files, unreadable
from wsikit.slides.properties import finite_number, safe_properties
from wsikit.slides.slide import DAMAGED, Slide, pyramid
from wsikit.types import Mpp, Size, UInt8Image

_SERIES = "dicom.SeriesInstanceUID"


class OpenSlideSlide(Slide):
    """Read a slide through OpenSlide.

    Transparent pixels, which OpenSlide returns where a scanner stored nothing, become white.
    OpenSlide takes whole level-0 coordinates, so where its own downsample of a level is no whole
    number (a pyramid of odd sizes) the pixels of that level are interpolated, off by at most half
    a level-0 pixel; level 0 and whole downsamples are exact. DICOM whose frames are YCbCr
    although the header says RGB, which OpenSlide shows in false colours, is put right. After a
    failed read the handle is of no more use, and every later read fails too.

    Args:
        path: the slide's file, or a folder that holds the files of one DICOM series.
        mpp: what the user says the level-0 mpp is.

    Raises:
        SlideError: OpenSlide cannot open it, or a folder holds more than one series.
    """

    backend: ClassVar[str] = "openslide"

    def __init__(self, path: Path, mpp: Mpp | None = None) -> None:
        super().__init__(path, mpp)
        self._handle: OpenSlide | None = _open_series(path) if path.is_dir() else _open(path, path)
        stated = dict(self._handle.properties)
        try:
            sizes = [Size(*size) for size in self._handle.level_dimensions]
            self._downsamples: Sequence[float] = self._handle.level_downsamples
            self.levels = pyramid(sizes, path.name)
        except SlideError:
            self.close()
            raise
        raw = {key.removeprefix("openslide."): value for key, value in stated.items()}
        self.metadata_mpp = (finite_number(raw.get("mpp-x")), finite_number(raw.get("mpp-y")))
        self.properties = safe_properties(raw, self.levels)
        self._shows_ycbcr = _is_mislabelled(path, stated, self.size_l0)

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> UInt8Image:
        """Read whole pixels of one level; see `Slide.read_level`."""
        if self._handle is None:
            raise SlideError(f"{self.path.name}: the slide is closed", "open it again")
        down = self._downsamples[level]
        corner = (round(x * down), round(y * down))
        try:
            image = self._handle.read_region(corner, level, (width, height))
        except OpenSlideError as error:
            raise SlideError(
                f"{self.path.name}: OpenSlide cannot read level {level} at ({x}, {y}): {error}",
                DAMAGED,
            ) from error
        colour = image.convert("RGB")
        if self._shows_ycbcr:
            colour = Image.merge("YCbCr", colour.split()).convert("RGB")
        return onto_white(np.array(colour), np.asarray(image.getchannel("A")))

    def close(self) -> None:
        """Release the file; a second call does nothing."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None


def _is_mislabelled(path: Path, stated: Mapping[str, str], size_l0: Size) -> bool:
    """Tell whether OpenSlide takes a slide's YCbCr for RGB, since its DICOM header says so."""
    if stated.get("dicom.PhotometricInterpretation") != "RGB":
        return False
    return frames_are_ycbcr(slide_files(path), stated.get(_SERIES, ""), size_l0)


def _open(file: Path, slide: Path) -> OpenSlide:
    """Open one file, naming the slide it belongs to in the error."""
    try:
        with file.open("rb"):
            return OpenSlide(file)
    except OSError as error:
        raise unreadable(slide, error) from error
    except OpenSlideUnsupportedFormatError as error:
        raise SlideError(
            f"{slide.name}: not a format that OpenSlide reads", "check that the file is a slide"
        ) from error
    except OpenSlideError as error:
        raise SlideError(f"{slide.name}: OpenSlide cannot open it: {error}", DAMAGED) from error


def _open_series(folder: Path) -> OpenSlide:
    """Open the one DICOM series of a folder by any of its files; OpenSlide finds the others."""
    handles: list[OpenSlide] = []
    reason = SlideError(f"{folder.name}: the folder holds no DICOM files", "name a slide's file")
    try:
        for file in dicom_files(folder):
            try:
                handles.append(_open(file, folder))
            except SlideError as error:
                reason = error
                continue
            if handles[-1].properties.get(_SERIES) != handles[0].properties.get(_SERIES):
                raise SlideError(
                    f"{folder.name}: the folder holds more than one DICOM series",
                    "give each series a folder of its own, or name one file of each",
                )
            if len(handles) > 1:
                handles.pop().close()
        if not handles:
            raise reason
        return handles.pop()
    except OSError as error:
        raise unreadable(folder, error) from error
    finally:
        for handle in handles:
            handle.close()
