"""Read an ordinary picture (PNG, JPEG, BMP) as a slide of one level."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from wsikit.errors import SlideError
from wsikit.slides.alpha import onto_white
from wsikit.slides.bounded_file import BoundedFile
from wsikit.slides.files import unreadable
from wsikit.slides.properties import safe_properties
from wsikit.slides.slide import DAMAGED, DamagedSlideError, Slide, pyramid
from wsikit.types import Mpp, Size, UInt8Image

PICTURE_FORMATS = ("PNG", "JPEG", "BMP")

MAX_PX = 178_000_000
"""Pixels of the largest picture read: it is decoded whole, and Pillow refuses more."""

JPEG_PX_PER_BYTE = 1024
"""Pixels that a byte of JPEG can stand for: fewer than one bit a block of 8 x 8 is not written."""

_MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr"}


class PictureSlide(Slide):
    """Read a picture through Pillow.

    The whole picture is decoded at the first read and kept. Grey and palette pictures become RGB,
    transparency is laid on white. Pixels are taken as stored: an EXIF orientation is not applied,
    so that coordinates mean the same pixels to every reader, and neither is a colour profile. The
    file's dots per inch say nothing of the microscope, so `metadata_mpp` is unknown.

    Args:
        path: a PNG, JPEG or BMP file.
        mpp: micrometres per pixel, as the user knows them.

    Raises:
        SlideError: no such picture, larger than `MAX_PX`, or more than 8 bits a channel.
    """

    backend: ClassVar[str] = "picture"

    def __init__(self, path: Path, mpp: Mpp | None = None) -> None:
        super().__init__(path, mpp)
        self._image: ImageFile | None = None
        self._pixels: UInt8Image | None = None
        self._damage: SlideError | None = None
        self._file = _file(path)
        try:
            self._image = _opened(path, self._file)
            _check(self._image, path)
            self.levels = pyramid([Size(*self._image.size)], path.name)
        except SlideError:
            self.close()
            raise
        self.metadata_mpp = (None, None)
        self.properties = safe_properties({}, self.levels)

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> UInt8Image:
        """Read whole pixels of one level; see `Slide.read_level`."""
        if self._image is None:
            raise SlideError(f"{self.path.name}: the slide is closed", "open it again")
        if self._damage is not None:
            raise self._damage
        if self._pixels is None:
            try:
                self._pixels = _decoded(self._image, self.path.name)
            except SlideError as error:
                self._damage = error  # it would take as long to find it again
                raise
        return self._pixels[y : y + height, x : x + width].copy()

    def close(self) -> None:
        """Release the file and the pixels; a second call does nothing."""
        if self._image is not None:
            self._image.close()
        self._image = self._pixels = None
        self._file.close()


def _file(path: Path) -> BoundedFile:
    try:
        return BoundedFile(path)
    except OSError as error:
        raise unreadable(path, error) from error


def _opened(path: Path, file: BoundedFile) -> ImageFile:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is odd but read; what is wrong is raised
            return Image.open(file, formats=PICTURE_FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_large(path.name) from error
    except UnidentifiedImageError as error:
        raise SlideError(
            f"{path.name}: not a picture that can be read",
            f"give a complete file of one of {', '.join(PICTURE_FORMATS)}",
        ) from error
    except (SyntaxError, ValueError) as error:  # Pillow, on a header that is wrong
        raise DamagedSlideError(f"{path.name}: {error}", DAMAGED) from error
    except OSError as error:
        raise unreadable(path, error) from error


def _check(image: ImageFile, path: Path) -> None:
    name, pixels = path.name, image.width * image.height
    if pixels > MAX_PX:
        raise _too_large(name)
    if image.format == "JPEG" and pixels > JPEG_PX_PER_BYTE * path.stat().st_size:
        raise DamagedSlideError(
            f"{name}: its header states {image.width} x {image.height} px, more than it holds",
            DAMAGED,
        )
    deep = any(";16" in str(tile.args) for tile in image.tile)
    if deep or image.mode not in _MODES:
        kind = "16 bits a channel" if deep else f"mode {image.mode}"
        raise SlideError(f"{name}: the picture has {kind}", "convert it to 8-bit RGB or grey")


def _too_large(name: str) -> SlideError:
    return SlideError(
        f"{name}: the picture has more than {MAX_PX // 10**6} million pixels",
        "convert it to a pyramidal tiled TIFF",
    )


def _decoded(image: ImageFile, name: str) -> UInt8Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            clear = "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa")
            pixels = np.asarray(image.convert("RGBA" if clear else "RGB"))
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DamagedSlideError(
            f"{name}: the picture cannot be decoded: {error}", DAMAGED
        ) from error
    return onto_white(pixels[..., :3], pixels[..., 3]) if clear else pixels
