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
from wsikit.slides.chatter import without_chatter
from wsikit.slides.dicom_lengths import refuse_lengths
from wsikit.slides.files import DICOM_SUFFIX, dicom_files, slide_files, unreadable
from wsikit.slides.fingerprint import quick_stamp
from wsikit.slides.properties import finite_number, safe_properties
from wsikit.slides.slide import DAMAGED, DamagedPixelsError, DamagedSlideError, Slide, pyramid
from wsikit.types import Mpp, Size, UInt8Image

MAX_PX_PER_BYTE = 100_000
"""Pixels that a byte of a slide may stand for: the sparsest real ones have some hundreds."""

_SERIES = "dicom.SeriesInstanceUID"


class OpenSlideSlide(Slide):
    """Read a slide through OpenSlide.

    Transparent pixels, which OpenSlide returns where a scanner stored nothing, become white.
    OpenSlide takes whole level-0 coordinates, so where its own downsample of a level is no whole
    number (a pyramid of odd sizes) the pixels of that level are interpolated, off by at most half
    a level-0 pixel; level 0 and whole downsamples are exact. DICOM whose frames are YCbCr
    although the header says RGB, which OpenSlide shows in false colours, is put right. A handle
    is of no more use after a failed read, so another is opened then.

    Args:
        path: the slide's file, or a folder that holds the files of one DICOM series.
        mpp: what the user says the level-0 mpp is.

    Raises:
        SlideError: OpenSlide cannot open it, or a folder holds more than one series.
        DamagedSlideError: a file of the series is damaged: without it, a level would be missing.
    """

    backend: ClassVar[str] = "openslide"

    def __init__(self, path: Path, mpp: Mpp | None = None) -> None:
        super().__init__(path, mpp)
        self._handle: OpenSlide | None
        self._file, self._handle = _open_series(path) if path.is_dir() else (path, _open(path))
        named = self._handle.properties
        stated = {key: named.get(key, "") for key in named}  # a key without value is listed too
        try:
            sizes = [Size(*size) for size in self._handle.level_dimensions]
            self._downsamples: Sequence[float] = self._handle.level_downsamples
            self.levels = pyramid(sizes, path.name)
            _refuse_emptiness(self.levels[0].size, path)
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
            self.close()
            self._handle = _open(self._file, None if self._file == self.path else self.path)
            raise DamagedPixelsError(
                f"{self.path.name}: OpenSlide cannot read level {level} at ({x}, {y}): "
                f"{_told(error, self.path)}",
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


def _refuse_emptiness(size_l0: Size, path: Path) -> None:
    """Refuse a size that the files can have nothing of: white would be read for hours."""
    held = sum(size for size, _ in quick_stamp(path))
    if size_l0.width * size_l0.height > MAX_PX_PER_BYTE * held:
        raise DamagedSlideError(
            f"{path.name}: its header states {size_l0.width} x {size_l0.height} px in {held} bytes",
            DAMAGED,
        )


def _is_mislabelled(path: Path, stated: Mapping[str, str], size_l0: Size) -> bool:
    """Tell whether OpenSlide takes a slide's YCbCr for RGB, since its DICOM header says so."""
    if stated.get("dicom.PhotometricInterpretation") != "RGB":
        return False
    from wsikit.slides.dicom_colour import frames_are_ycbcr  # pydicom is slow to import

    return frames_are_ycbcr(slide_files(path), stated.get(_SERIES, ""), size_l0)


def _open(file: Path, folder: Path | None = None) -> OpenSlide:
    """Open one file, naming the slide it belongs to in the error."""
    slide = folder or file
    try:
        if folder is None and file.suffix.lower() == DICOM_SUFFIX:
            refuse_lengths(file, file.name)
        with file.open("rb"), without_chatter():
            return OpenSlide(file)
    except OSError as error:
        raise unreadable(slide, error) from error
    except OpenSlideUnsupportedFormatError as error:
        raise SlideError(
            f"{slide.name}: not a format that OpenSlide reads", "check that the file is a slide"
        ) from error
    except OpenSlideError as error:
        raise SlideError(
            f"{slide.name}: OpenSlide cannot open it: {_told(error, file)}", DAMAGED
        ) from error


def _open_series(folder: Path) -> tuple[Path, OpenSlide]:
    """Open the one DICOM series of a folder by any of its files; OpenSlide finds the others."""
    handles: list[OpenSlide] = []
    refused: dict[Path, SlideError] = {}
    try:
        files = dicom_files(folder)
        for file in files:  # all of them, since OpenSlide looks into all to open one
            refuse_lengths(file, f"{folder.name}: its file {file.name}")
        for file in files:
            try:
                handles.append(_open(file, folder))
            except SlideError as error:
                refused[file] = error
                continue
            if handles[-1].properties.get(_SERIES) != handles[0].properties.get(_SERIES):
                raise SlideError(
                    f"{folder.name}: the folder holds more than one DICOM series",
                    "give each series a folder of its own, or name one file of each",
                )
            if len(handles) > 1:
                handles.pop().close()
        if not handles:
            raise next(iter(refused.values()))
        _refuse_damaged(refused, handles[0].properties.get(_SERIES, ""), folder.name)
        return next(file for file in files if file not in refused), handles.pop()
    except OSError as error:
        raise unreadable(folder, error) from error
    finally:
        for handle in handles:
            handle.close()


def _refuse_damaged(refused: Mapping[Path, SlideError], series: str, name: str) -> None:
    """Refuse a series one of whose files cannot be opened: OpenSlide would leave a level out."""
    from wsikit.slides.dicom_series import series_of  # pydicom is slow to import

    for file, error in refused.items():
        if series_of(file) in (None, series):
            problem = error.what.removeprefix(f"{name}: ")
            raise DamagedSlideError(f"{name}: its file {file.name}: {problem}", DAMAGED) from error


def _told(error: OpenSlideError, path: Path) -> str:
    """Return what OpenSlide says without the folders of the path and without control characters."""
    line = str(error).replace(str(path), path.name)
    return "".join(letter if letter.isprintable() else "?" for letter in line)
