"""Open a slide with the first reader that can."""

from __future__ import annotations

from pathlib import Path

from wsikit.errors import SlideError, UsageError, nearest
from wsikit.slides.files import DICOM_SUFFIX, dicom_files, unreadable
from wsikit.slides.find import (
    OPENSLIDE_SUFFIXES,
    PICTURE_SUFFIXES,
    SLIDE_SUFFIXES,
    default_slide_id,
    find_slides,
)
from wsikit.slides.openslide import OpenSlideSlide
from wsikit.slides.picture import PictureSlide
from wsikit.slides.slide import DamagedSlideError, Slide
from wsikit.slides.tiff import TiffSlide
from wsikit.slides.tiff_directories import refuse_lies
from wsikit.types import Mpp

__all__ = ["BACKENDS", "SLIDE_SUFFIXES", "default_slide_id", "find_slides", "open_slide"]

BACKENDS: dict[str, type[Slide]] = {
    reader.backend: reader for reader in (TiffSlide, OpenSlideSlide, PictureSlide)
}
"""The readers by name."""


def open_slide(path: Path, mpp: Mpp | None = None, backend: str | None = None) -> Slide:
    """Open a slide.

    Readers are tried in the order of speed, those that cannot read the suffix left out. Where one
    refuses the file the next is tried, but not where the file is found damaged.

    Args:
        path: a file, or a folder that holds one DICOM series.
        mpp: what the user says the level-0 mpp is; overrides the file's own.
        backend: a name in `BACKENDS`, to use that reader and no other.

    Returns:
        The open slide, to be closed by the caller.

    Raises:
        SlideError: no reader can open it; the message gives each one's reason.
        UsageError: `backend` names no reader, or `path` is a folder without DICOM files.
    """
    if backend is not None and backend not in BACKENDS:
        raise UsageError(f"unknown slide reader '{backend}'", nearest(backend, BACKENDS))
    _refuse_path(path)
    reasons = []
    for name in [backend] if backend else _readers_for(path):
        try:
            return BACKENDS[name](path, mpp)
        except DamagedSlideError:
            raise
        except SlideError as error:
            reasons.append((name, error))
    if len(reasons) == 1:
        raise reasons[0][1]
    told = "; ".join(f"{name}: {_reason(error, path)}" for name, error in reasons)
    raise SlideError(
        f"{path.name}: no reader can open it ({told})",
        "check that the file is complete and of a format that is read",
    )


def _readers_for(path: Path) -> tuple[str, ...]:
    """Name the readers worth trying, the fastest first."""
    suffix = path.suffix.lower()
    if path.is_dir() or suffix in (DICOM_SUFFIX, *OPENSLIDE_SUFFIXES):
        return (OpenSlideSlide.backend,)
    if suffix in PICTURE_SUFFIXES:
        return (PictureSlide.backend,)
    return (TiffSlide.backend, OpenSlideSlide.backend)


def _refuse_path(path: Path) -> None:
    """Refuse what no reader need look at."""
    try:
        if path.is_dir():
            if not dicom_files(path):
                raise UsageError(
                    f"{path}: a folder without DICOM files is no slide", "name the slide's file"
                )
        elif path.stat().st_size == 0:
            raise SlideError(f"{path.name}: the file is empty", "copy it again from its source")
        else:
            refuse_lies(path)
    except OSError as error:
        raise unreadable(path, error) from error


def _reason(error: SlideError, path: Path) -> str:
    return error.what.removeprefix(f"{path.name}: ")
