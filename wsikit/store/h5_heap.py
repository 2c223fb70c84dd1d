"""See whether a file's texts can be read without hanging.

HDF5 keeps texts of variable length in "global heaps". Its library walks a heap from object to
object by the sizes that stand in it, and one wrong byte can send it in circles for ever, inside C
and beyond any interruption (found by changing bytes at random; HDF5 2.0). So the heaps are walked
here first, by their published layout: HDF5 File Format Specification 3.0, III.E.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_MARK = b"GCOL\x01\0\0\0"
_HEADER = struct.Struct("<8sQ")
_OBJECT = struct.Struct("<HHIQ")


def heaps_are_sound(path: Path) -> bool:
    """Tell whether every global heap of a file can be walked to its end.

    Args:
        path: an HDF5 file, not empty.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.find(_MARK)
        while start >= 0:
            if not _is_sound(data, start):
                return False
            start = data.find(_MARK, start + len(_MARK))
    return True


def _is_sound(data: mmap.mmap, start: int) -> bool:
    """Walk one heap: a header, then objects padded to 8 bytes, then free space, numbered 0."""
    if start + _HEADER.size > len(data):
        return False
    _, size = _HEADER.unpack_from(data, start)
    at, end = start + _HEADER.size, start + size
    if end > len(data):
        return False
    while end - at >= _OBJECT.size:
        number, _, _, length = _OBJECT.unpack_from(data, at)
        if number == 0:
            return bool(length == end - at)
        at += _OBJECT.size + -(-length // 8) * 8
    return bool(at <= end)
