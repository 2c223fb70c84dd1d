"""Where the numbers lie in the header of a sound file, so that a mutant can make them lie."""

from __future__ import annotations

import warnings
from io import BytesIO
from itertools import pairwise
from typing import NamedTuple

import pydicom
import tifffile

_JPEG_FRAMES = (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2")
_J2K_SIZE = b"\xff\x4f\xff\x51"
_ARRAY_SPOTS = 12
"""Numbers of one long table, such as tile offsets, that are worth a lie."""


class Field(NamedTuple):
    """One number of a header.

    Attributes:
        name: what it says.
        at: offset in the file.
        size: bytes.
        order: "little" or "big".
    """

    name: str
    at: int
    size: int
    order: str


def tiff_fields(data: bytes) -> list[Field]:
    """List type, count and value of every tag, and the links from directory to directory."""
    found = []
    with tifffile.TiffFile(BytesIO(data)) as tiff:
        order = "little" if tiff.byteorder == "<" else "big"
        big = tiff.is_bigtiff
        word, entry, start = (8, 20, 8) if big else (4, 12, 2)
        found.append(Field("link", 8 if big else 4, word, order))
        pages = [page for top in tiff.pages for page in (top, *(top.pages or ()))]
        for page in pages:
            found.append(Field("tags", page.offset, start, order))
            for tag in page.tags:
                found.append(Field("type", tag.offset + 2, 2, order))
                found.append(Field("count", tag.offset + 4, word, order))
                found.append(Field("value", tag.offset + 4 + word, word, order))
                size = tag.valuebytecount // max(1, tag.count)
                if tag.name not in ("ImageDescription", "Software") and size in (1, 2, 4, 8):
                    step = max(1, tag.count // _ARRAY_SPOTS)
                    found += [
                        Field(tag.name, tag.valueoffset + i * size, size, order)
                        for i in range(0, tag.count, step)
                    ]
            end = page.offset + start + len(page.tags) * entry
            found.append(Field("link", end, word, order))
            found += codestream_fields(data, min(filter(None, page.dataoffsets), default=0))
    return found


def directory_offsets(data: bytes) -> list[int]:
    """List where the directories of a TIFF lie."""
    with tifffile.TiffFile(BytesIO(data)) as tiff:
        return [page.offset for page in tiff.pages]


def codestream_fields(data: bytes, start: int = 0) -> list[Field]:
    """List the sizes in the first JPEG or JPEG 2000 header at or after `start`."""
    near = data[start : start + 4096]
    found = []
    for marker in _JPEG_FRAMES:
        at = near.find(marker)
        if at >= 0:
            places = [("length", 2, 2), ("bits", 4, 1), ("height", 5, 2), ("width", 7, 2)]
            places += [("channels", 9, 1)] + [("sampling", 11 + 3 * i, 1) for i in range(3)]
            found += [Field(name, start + at + off, size, "big") for name, off, size in places]
    at = near.find(_J2K_SIZE)
    if at >= 0:
        names = ["x1", "y1", "x0", "y0", "tile x", "tile y", "tile x0", "tile y0"]
        found += [Field(n, start + at + 8 + 4 * i, 4, "big") for i, n in enumerate(names)]
        found += [Field("channels", start + at + 40, 2, "big")]
        found += [Field("component", start + at + 42 + i, 1, "big") for i in range(9)]
        style = near.find(b"\xff\x52", at)
        found += [Field("style", start + style + i, 1, "big") for i in range(2, 14) if style > 0]
    return found


def png_fields(data: bytes) -> list[Field]:
    """List the numbers of the header chunk and the length of each chunk."""
    found = [Field("width", 16, 4, "big"), Field("height", 20, 4, "big")]
    found += [Field(n, 24 + i, 1, "big") for i, n in enumerate(["bits", "kind", "z", "f", "i"])]
    at = 8
    while at + 8 <= len(data):
        found.append(Field("length", at, 4, "big"))
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return found


def bmp_fields(data: bytes) -> list[Field]:
    """List the numbers of the two headers."""
    return [
        *(Field("header", at, 4, "little") for at in (2, 10, 14, 18, 22, 30, 34, 46, 50)),
        *(Field("header", at, 2, "little") for at in (26, 28)),
    ]


def dicom_fields(data: bytes) -> list[Field]:
    """List lengths and binary numbers of all elements before the pixels, and the first items'."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the real files break the standard here and there
        header = pydicom.dcmread(BytesIO(data), stop_before_pixels=True)
        elements = [*header.file_meta, *header]
    starts = sorted(e.file_tell for e in elements if e.file_tell)  # where the values lie
    found = []
    for element in elements:
        at = element.file_tell
        if not at:
            continue
        if element.VR in ("OB", "OW", "SQ", "UN", "UT", "UC"):
            found.append(Field("length", at - 4, 4, "little"))
        else:
            found.append(Field("length", at - 2, 2, "little"))
        if element.VR in ("US", "UL", "SS", "SL"):
            found.append(Field(element.keyword, at, 2 if element.VR[1] == "S" else 4, "little"))
    pixels = data.find(b"\xe0\x7f\x10\x00")
    if pixels >= 0:
        found.append(Field("pixel length", pixels + 8, 4, "little"))
        found += [Field("item", pixels + off, 4, "little") for off in (12, 16, 20, 24, 28)]
        found += codestream_fields(data, pixels)
    found += [
        Field("gap", a, 2, "little") for a, b in pairwise(starts) if b - a > 16
    ]  # inside sequences
    return found
