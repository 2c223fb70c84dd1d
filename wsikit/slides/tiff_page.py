"""The tiles (or strips) of one TIFF page: which exist, and their pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from wsikit.errors import SlideError
from wsikit.slides.alpha import onto_white
from wsikit.slides.codestream import jpeg2000_size, jpeg_header, jpeg_size
from wsikit.slides.slide import DAMAGED, WHITE, DamagedPixelsError, DamagedSlideError
from wsikit.types import Size, UInt8Image

MAX_TILE_PX = 1 << 26
"""Pixels of the largest tile or strip that is decoded."""

_JPEG = 7
_JPEG2000 = (33005, 34712)
_BYTES = (1, 5, 8, 32773, 32946, 50000)  # none, LZW, deflate, PackBits, old deflate, Zstandard
_APERIO_YCBCR = 33003

_GREY, _RGB, _YCBCR = 1, 2, 6
_ASSOCIATED = 1

_NUMBERS = (
    "imagewidth",
    "imagelength",
    "imagedepth",
    "tilewidth",
    "tilelength",
    "rowsperstrip",
    "samplesperpixel",
    "planarconfig",
    "compression",
    "photometric",
)

_CONVERT = "convert it to a pyramidal RGB TIFF of 8 bits with JPEG or deflate"


class TiffTiles:
    """Decode the tiles of one page.

    Args:
        page: a tifffile page.
        handle: the open tifffile handle of the file.
        name: the slide's file name, for messages.

    Attributes:
        size: (width, height) of the page in pixels.
        tile: (width, height) of a tile, or of a strip.
        white: a tile's size of white, to lay under tiles that are absent or cut.

    Raises:
        SlideError: the page's kind of pixels is not read.
        DamagedSlideError: the header promises what the file does not hold.
    """

    def __init__(self, page: tifffile.TiffPage, handle: tifffile.FileHandle, name: str) -> None:
        self._page: Any = page
        self._handle = handle
        self._name = name
        for tag in _NUMBERS:
            if not isinstance(getattr(page, tag), int):
                raise self._damaged(f"its header states no number for {tag}")
        self.size = Size(int(page.imagewidth), int(page.imagelength))
        if page.is_tiled:
            self.tile = Size(int(page.tilewidth), int(page.tilelength))
        else:
            self.tile = Size(self.size.width, int(page.rowsperstrip))
        self._good_header = b""
        self._refuse_kind()
        self._refuse_lies()
        self.white = np.broadcast_to(np.uint8(WHITE), (self.tile.height, self.tile.width, 3))
        self._cols = math.ceil(self.size.width / self.tile.width)

    def touched(self, x: int, y: int, width: int, height: int) -> Iterator[tuple[int, int, int]]:
        """Yield (top, left, index) of every tile that a rectangle of the page touches."""
        for row in range(y // self.tile.height, (y + height - 1) // self.tile.height + 1):
            for col in range(x // self.tile.width, (x + width - 1) // self.tile.width + 1):
                yield row * self.tile.height, col * self.tile.width, row * self._cols + col

    def decode(self, index: int) -> UInt8Image | None:
        """Return a tile's pixels, (h, w, 3) uint8; None where the file holds no tile.

        Raises:
            DamagedPixelsError: the tile cannot be decoded.
        """
        offset, count = self._page.dataoffsets[index], self._page.databytecounts[index]
        if offset == 0 or count == 0:
            return None
        try:
            self._handle.seek(offset)
            data = self._handle.read(count)
            self._refuse_codestream(data)
            pixels = self._page.decode(data, index, jpegtables=self._page.jpegtables)[0]
        except (
            Exception
        ) as error:  # codecs raise classes of their own, and untrusted bytes any of them
            raise DamagedPixelsError(
                f"{self._name}: tile {index} of its {self.size.width} x {self.size.height} level "
                f"cannot be decoded: {error}",
                DAMAGED,
            ) from error
        return _rgb(pixels[0], self._page.extrasamples)

    def _refuse_kind(self) -> None:
        """Raise SlideError where the pixels are of a kind that is not read."""
        page = self._page
        samples, jpeg = page.samplesperpixel, page.compression == _JPEG
        if page.dtype != np.uint8 or page.bitspersample != 8:
            problem = f"its pixels are {page.dtype or 'of an unknown type'}, not 8-bit"
        elif samples > 4 or page.imagedepth != 1:
            problem = f"its pixels have {samples} channels and {page.imagedepth} planes"
        elif samples > 1 and page.planarconfig != 1:
            problem = "its colour channels are stored apart (planar)"
        elif page.compression == _APERIO_YCBCR:
            problem = "JPEG 2000 in YCbCr is read by OpenSlide only"
        elif self.tile.width * self.tile.height > MAX_TILE_PX:
            problem = f"its tiles of {self.tile.width} x {self.tile.height} px are too large"
        elif not jpeg and page.compression not in (*_JPEG2000, *_BYTES):
            problem = f"compression {int(page.compression)} is not read"
        elif page.photometric not in (_GREY, _RGB) and not (jpeg and page.photometric == _YCBCR):
            problem = f"photometric interpretation {int(page.photometric)} is not read"
        else:
            return
        raise SlideError(f"{self._name}: {problem}", _CONVERT)

    def _refuse_lies(self) -> None:
        """Raise DamagedSlideError where the header and the file disagree."""
        page, tile = self._page, self.tile
        if min(*self.size, *tile) < 1:
            raise self._damaged(f"its header states tiles of {tile.width} x {tile.height} px")
        grid = math.ceil(self.size.width / tile.width) * math.ceil(self.size.height / tile.height)
        if len(page.dataoffsets) != grid or len(page.databytecounts) != grid:
            raise self._damaged(f"it lists {len(page.dataoffsets)} tiles where {grid} are needed")
        places = (*page.dataoffsets, *page.databytecounts)
        tables = (page.dataoffsets, page.databytecounts)
        if any(isinstance(table, bytes) for table in tables) or any(n < 0 for n in places):
            raise self._damaged("its header states no places for its tiles")
        ends = np.asarray(page.dataoffsets, np.uint64) + np.asarray(page.databytecounts, np.uint64)
        if int(ends.max()) > self._handle.size:
            raise self._damaged("the file is cut short: tiles lie beyond its end")
        largest = 2 * tile.width * tile.height * page.samplesperpixel + (1 << 16)
        if max(page.databytecounts) > largest:
            raise self._damaged("a compressed tile is larger than its pixels")

    def _damaged(self, problem: str) -> DamagedSlideError:
        return DamagedSlideError(f"{self._name}: {problem}", DAMAGED)

    def _refuse_codestream(self, data: bytes) -> None:
        """Raise ValueError where a tile's own header asks for too much, or its data stop short."""
        if self._page.compression == _JPEG:
            if data.rfind(b"\xff\xd9") < 0:  # libjpeg would fill up with grey and go on
                raise ValueError("its JPEG data stop short")
            if self._good_header and data.startswith(self._good_header):
                return  # as nearly every tile's is; parsing it takes 4 % of decoding it
            width, height, channels = jpeg_size(data)
        elif self._page.compression in _JPEG2000:
            width, height, channels = jpeg2000_size(data)
        else:
            return
        if width > self.tile.width or height > self.tile.height or channels > 4:
            raise ValueError(f"it claims {width} x {height} px and {channels} channels")
        if self._page.compression == _JPEG:
            self._good_header = jpeg_header(data)


def _rgb(pixels: NDArray[np.uint8], extrasamples: tuple[int, ...]) -> UInt8Image:
    """Return (h, w, 3) of a decoded tile (h, w, s): grey repeated, alpha laid on white."""
    samples = pixels.shape[2]
    colour = pixels[..., :3] if samples >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    if samples not in (2, 4) or not extrasamples or extrasamples[0] == 0:
        return colour  # an extra channel of unstated meaning is no alpha
    alpha = np.ascontiguousarray(pixels[..., -1])
    return onto_white(colour, alpha, premultiplied=extrasamples[0] == _ASSOCIATED)
