"""Look through the directories of a TIFF before a library does, which would believe them.

A few changed bytes make libraries follow directories in a circle for ever, abort the process over
a tile of 60 GB, or read a slide ten times as high as its tiles go. What is checked here holds of
every sound TIFF, of all dialects, so the libraries keep the parsing.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from wsikit.slides.ome_numbers import untrue_planes
from wsikit.slides.slide import DAMAGED, DamagedSlideError

MAX_DIRECTORIES = 1000
"""Directories that a slide may have in a row: levels and associated images, not a stack."""

MAX_TAGS = 4096
"""Tags of one directory; libraries stop there too."""

MAX_TILE_PX = 1 << 26
"""Pixels of the largest tile that is decoded."""

MAX_TEXT = 64 << 20
"""Bytes of the longest description, which libraries parse whole."""

_CLASSIC, _BIG = 42, 43
_LONG = 1 << 32
"""Bytes beyond which only Hamamatsu's TIFF, whose links have 64 bits, keeps version 42."""

_TYPE_BYTES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
    16: 8, 17: 8, 18: 8,
}  # fmt: skip
_WHOLE = {1: "B", 3: "H", 4: "I", 16: "Q"}
_LINK = {4: "I", 8: "Q"}

_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS = 256, 257, 322, 323, 324
_BYTE_COUNTS = (279, 325)
_DESCRIPTION = 270


class _Layout(NamedTuple):
    """How directories are written.

    Attributes:
        order: of bytes, as in struct.
        first: where the link to the first directory lies.
        tags: struct format of the number of tags.
        link: struct format of a link to a directory.
        tag: struct format of a tag: code, type, count, value.
    """

    order: str
    first: int
    tags: str
    link: str
    tag: str


class _Tag(NamedTuple):
    """One tag: its type, the number of its values, and they or their place as stored."""

    kind: int
    values: int
    stored: bytes


def refuse_lies(path: Path) -> None:
    """Refuse a TIFF whose directories cannot be true; let any other file pass.

    They must not lead in a circle, claim values or tiles of more bytes than the file has, claim
    tiles of more than `MAX_TILE_PX`, list fewer tiles than the picture has, or speak in OME-XML of
    planes beyond number. Directories beyond the end of the file are left to the readers, which
    know what a file cut short is worth.

    Args:
        path: a file of any kind.

    Raises:
        DamagedSlideError: they cannot be true.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        layout = _layout(file, size)
        if layout is None:
            return
        for tags in _directories(file, layout, path.name):
            problem = (
                _too_large(tags, size)
                or _untrue_tiles(tags, layout.order)
                or _untrue_bytes(file, tags, layout.order, size)
                or _untrue_text(file, tags, layout.order)
            )
            if problem:
                raise _damaged(path.name, problem)


def _layout(file: BinaryIO, size: int) -> _Layout | None:
    """Return how the file's directories are written; None where it is no TIFF."""
    header = file.read(4)
    order = {b"II": "<", b"MM": ">"}.get(header[:2])
    if order is None or len(header) < 4:
        return None
    (version,) = struct.unpack(f"{order}H", header[2:])
    if version == _BIG:
        return _Layout(order, 8, f"{order}Q", f"{order}Q", f"{order}HHQ8s")
    if version == _CLASSIC:
        link = "I" if size < _LONG else "Q"
        return _Layout(order, 4, f"{order}H", f"{order}{link}", f"{order}HHI4s")
    return None


def _directories(file: BinaryIO, layout: _Layout, name: str) -> Iterator[Mapping[int, _Tag]]:
    """Yield the tags of each directory in turn, up to the end of the chain or of the file.

    Raises:
        DamagedSlideError: the chain comes back to itself, or is longer than a slide's can be.
    """
    seen: set[int] = set()
    at = _number(file, layout.first, layout.link)
    while at:
        if at in seen:
            raise _damaged(name, "its TIFF directories lead in a circle")
        if len(seen) >= MAX_DIRECTORIES:
            raise _damaged(name, f"it has more than {MAX_DIRECTORIES} TIFF directories")
        seen.add(at)
        count = _number(file, at, layout.tags)
        if count > MAX_TAGS:
            raise _damaged(name, f"a TIFF directory states {count} tags")
        width = struct.calcsize(layout.tag)
        data = file.read(count * width)
        whole = data[: len(data) // width * width]
        yield {code: _Tag(*tag) for code, *tag in struct.iter_unpack(layout.tag, whole)}
        at = _number(file, at + struct.calcsize(layout.tags) + count * width, layout.link)


def _number(file: BinaryIO, at: int, form: str) -> int:
    """Read one number; 0 where the file has ended before it."""
    width = struct.calcsize(form)
    if at >= 1 << 63:
        return 0
    file.seek(at)
    data = file.read(width)
    return int(struct.unpack(form, data)[0]) if len(data) == width else 0


def _too_large(tags: Mapping[int, _Tag], size: int) -> str:
    """Say which tag claims more than the whole file holds; empty where none does."""
    for code, tag in tags.items():
        claimed = tag.values * _TYPE_BYTES.get(tag.kind, 1)
        if claimed > size:
            return f"TIFF tag {code} claims {claimed} bytes in a file of {size}"
    return ""


def _untrue_tiles(tags: Mapping[int, _Tag], order: str) -> str:
    """Say how the tiles of a directory cannot be true; empty where they can, or are none."""
    wide, high = _whole(tags, _TILE_WIDTH, order), _whole(tags, _TILE_HEIGHT, order)
    if wide * high > MAX_TILE_PX:
        return f"its tiles of {wide} x {high} px are too large"
    offsets = tags.get(_TILE_OFFSETS)
    if not wide or not high or offsets is None:
        return ""
    size = (_whole(tags, _WIDTH, order), _whole(tags, _HEIGHT, order))
    needed = math.ceil(size[0] / wide) * math.ceil(size[1] / high)
    if offsets.values < needed:
        return f"it lists {offsets.values} tiles where {needed} are needed"
    return ""


def _whole(tags: Mapping[int, _Tag], code: int, order: str) -> int:
    """Return a tag's one whole number; 0 where it has none."""
    tag = tags.get(code)
    if tag is None or tag.values != 1 or tag.kind not in _WHOLE:
        return 0
    form = f"{order}{_WHOLE[tag.kind]}"
    width = struct.calcsize(form)
    return int(struct.unpack(form, tag.stored[:width])[0]) if width <= len(tag.stored) else 0


def _untrue_bytes(file: BinaryIO, tags: Mapping[int, _Tag], order: str, size: int) -> str:
    """Say which tile or strip claims more bytes than the file has; empty where none does."""
    for tag in filter(None, map(tags.get, _BYTE_COUNTS)):
        if tag.kind not in _WHOLE:
            continue
        kind = np.dtype(f"{order}{_WHOLE[tag.kind]}")
        data = _stored(file, tag, order, tag.values * kind.itemsize)
        counts = np.frombuffer(data[: len(data) // kind.itemsize * kind.itemsize], kind)
        if counts.size and int(counts.max()) > size:
            return f"a tile claims {int(counts.max())} bytes in a file of {size}"
    return ""


def _untrue_text(file: BinaryIO, tags: Mapping[int, _Tag], order: str) -> str:
    """Say what in the description cannot be true; empty where all can."""
    tag = tags.get(_DESCRIPTION)
    if tag is None:
        return ""
    if tag.values > MAX_TEXT:
        return f"its description has {tag.values} bytes"
    return untrue_planes(_stored(file, tag, order, tag.values).rstrip(b"\0"))


def _stored(file: BinaryIO, tag: _Tag, order: str, length: int) -> bytes:
    """Return the first bytes of a tag's values, from the tag itself or from where it points."""
    if length <= len(tag.stored):
        return tag.stored[:length]
    (at,) = struct.unpack(f"{order}{_LINK[len(tag.stored)]}", tag.stored)
    file.seek(min(at, 1 << 62))
    return file.read(length)


def _damaged(name: str, problem: str) -> DamagedSlideError:
    return DamagedSlideError(f"{name}: {problem}", DAMAGED)
