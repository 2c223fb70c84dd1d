"""Read whole picture files: 8-bit RGB, or grey at its full depth."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from wsikit.errors import SlideError
from wsikit.slides.bounded_file import BoundedFile
from wsikit.slides.picture import MAX_PX, PictureSlide
from wsikit.types import PatchPixels, Size, UInt8Image

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
GREY_FORMATS = ("PNG", "PPM", "TIFF")
"""What grey pictures come in; Pillow calls PGM `PPM`."""

DEEP_MODES = ("I;16", "I;16B", "I;16L", "I")

LIKE_SHARE = 0.02
"""Two sizes that differ by no more than this are made one, by repeating the last row or column."""


def picture_size(path: Path) -> Size:
    """Return (width, height) of an 8-bit picture from its header.

    Raises:
        SlideError: it is no picture that can be read.
    """
    with PictureSlide(path) as picture:
        return picture.size_l0


def read_rgb(path: Path) -> UInt8Image:
    """Read a picture of 8 bits a channel as (H, W, 3) uint8; see `PictureSlide`.

    Raises:
        SlideError: it is no such picture, or damaged.
    """
    with PictureSlide(path) as picture:
        width, height = picture.size_l0
        return picture.read_level(0, 0, 0, width, height)


def read_rgb_of(path: Path, size: Size) -> PatchPixels:
    """Read a picture and bring it to a size it all but has; see `fitted`."""
    return fitted(read_rgb(path), size, path.name)


def fitted(pixels: PatchPixels, size: Size, name: str) -> PatchPixels:
    """Bring a picture to a size it all but has: the last row and column are repeated, or cut.

    Raises:
        SlideError: it differs by more than `LIKE_SHARE`.
    """
    height, width = pixels.shape[:2]
    if not alike(Size(width, height), size):
        raise SlideError(
            f"{name}: is {width} x {height} px, the others {size.width} x {size.height}",
            "give pictures of one size",
        )
    down, across = max(0, size.height - height), max(0, size.width - width)
    padded = np.pad(pixels, ((0, down), (0, across), (0, 0)), mode="edge")
    return np.ascontiguousarray(padded[: size.height, : size.width])


def alike(one: Size, other: Size) -> bool:
    """Tell whether two sizes differ by no more than `LIKE_SHARE`."""
    return all(abs(a - b) <= LIKE_SHARE * b for a, b in zip(one, other, strict=True))


def commonest_size(sizes: Sequence[Size]) -> Size:
    """Return the size that most pictures have; of equally many the largest."""
    return max(set(sizes), key=lambda size: (sizes.count(size), size))


def read_grey(path: Path) -> tuple[NDArray[np.uint16], int]:
    """Read a grey picture at its full depth.

    Colour pictures are turned grey by their luma, as Pillow does.

    Args:
        path: a PNG, PGM or TIFF file of one page.

    Returns:
        (H, W) uint16, and what white is: 255 or 65535.

    Raises:
        SlideError: it is no such picture, too large, or damaged.
    """
    try:
        with warnings.catch_warnings(), BoundedFile(path) as file:
            warnings.simplefilter("ignore")  # of what is odd but read; what is wrong is raised
            with Image.open(file, formats=GREY_FORMATS) as image:
                if image.width * image.height > MAX_PX:
                    raise SlideError(f"{path.name}: more than {MAX_PX // 10**6} million pixels")
                deep = image.mode in DEEP_MODES
                pixels = np.asarray(image if deep else image.convert("L"))
    except UnidentifiedImageError as error:  # its words hold the file's whole path
        raise SlideError(
            f"{path.name}: not a grey picture (none of {', '.join(GREY_FORMATS)})", "check the file"
        ) from error
    except Image.DecompressionBombError as error:
        raise SlideError(
            f"{path.name}: more than {MAX_PX // 10**6} million pixels", "check the file"
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise SlideError(
            f"{path.name}: not a grey picture that can be read ({_words(error)})",
            f"give a complete {', '.join(GREY_FORMATS)} file",
        ) from error
    if deep and (pixels.min() < 0 or pixels.max() > 65535):
        raise SlideError(f"{path.name}: has values beyond 16 bits", "convert it to 16-bit grey")
    return pixels.astype(np.uint16), 65535 if deep else 255


def _words(error: Exception) -> str:
    """Return what went wrong without the path, which the name of a person may stand in."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
