"""Look through the lengths of a DICOM header before a library does, which would believe them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from wsikit.slides.slide import DAMAGED, DamagedSlideError

MAX_ELEMENTS = 5000
"""Elements looked at; a slide's header has about 200, apart from what it states of each frame."""

_PREAMBLE = 128
_LONG_KINDS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
_OPEN_KINDS = (b"SQ", b"UN")
_UNDEFINED = 0xFFFFFFFF
_ITEM, _PIXELS = 0xFFFE, (0x7FE0, 0x0010)


def refuse_lengths(path: Path, name: str) -> None:
    """Refuse a DICOM file in which an element before the pixels claims more than the file holds.

    Elements of explicit kind in little-endian order are looked at, as every DICOM slide has them;
    where something else is found the rest is left to the library.

    Args:
        path: a file of any kind.
        name: the slide's, for the message.

    Raises:
        DamagedSlideError: an element does.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(_PREAMBLE + 4)[_PREAMBLE:] != b"DICM":
            return
        for _ in range(MAX_ELEMENTS):
            element = _element(file)
            if element is None:
                return
            tag, kind, length = element
            if tag == _PIXELS:
                return
            if tag[0] == _ITEM or (length == _UNDEFINED and kind in _OPEN_KINDS):
                continue  # what it holds follows
            if file.tell() + length > size:
                raise DamagedSlideError(
                    f"{name}: DICOM element ({tag[0]:04x},{tag[1]:04x}) claims {length} bytes "
                    f"in a file of {size}",
                    DAMAGED,
                )
            if kind != b"SQ":
                file.seek(length, 1)


def _element(file: BinaryIO) -> tuple[tuple[int, int], bytes, int] | None:
    """Read an element up to its value: tag, kind, length in bytes; None where there is none."""
    head = file.read(8)
    if len(head) < 8:
        return None
    group, number, kind, short = struct.unpack("<HH2sH", head)
    if group == _ITEM:
        return (group, number), b"", int.from_bytes(head[4:], "little")
    if not (kind.isalpha() and kind.isupper()):
        return None
    if kind not in _LONG_KINDS:
        return (group, number), kind, short
    length = file.read(4)
    return ((group, number), kind, int.from_bytes(length, "little")) if len(length) == 4 else None
