"""Write and read one shard file, chunk by chunk (Zarr v3 `sharding_indexed`).

zarr-python takes a shard as one dense array: it would copy 50 MB of pixels several times to write
the few chunks that are tissue, at twice the cost of the JPEG encoding itself. The format is small
enough to write directly; and a single chunk is read in a third of the time. zarr and tensorstore
are what the tests compare with.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

ABSENT = np.uint64(2**64 - 1)
"""Offset and length of a chunk that is not there."""


def shard_bytes(chunks: Mapping[tuple[int, int], bytes], side: int) -> bytes:
    """Return a shard's file: its chunks in row order, then the index of all places.

    Args:
        chunks: (row, col) within the shard -> encoded chunk; what is absent is fill.
        side: chunks along each side of the shard.

    Returns:
        The chunks, then little-endian uint64 (offset, length) of every place, rows first, then the
        index's CRC-32C: `index_location` `end`, index codecs `bytes`, `crc32c`.
    """
    index = np.full((side, side, 2), ABSENT, "<u8")
    offset = 0
    ordered = sorted(chunks)
    for place in ordered:
        length = len(chunks[place])
        index[place] = (offset, length)
        offset += length
    table = index.tobytes()
    checksum = google_crc32c.value(table).to_bytes(4, "little")
    return b"".join([*(chunks[place] for place in ordered), table, checksum])


def read_shard_index(path: Path, side: int) -> NDArray[np.uint64]:
    """Read where the chunks of a shard file lie.

    Args:
        path: the shard's file.
        side: chunks along each side of the shard.

    Returns:
        (side, side, 2) uint64, offset and length; `ABSENT` twice where there is no chunk.

    Raises:
        ValueError: the index is damaged, or points outside the file.
        OSError: the file cannot be read.
    """
    length = side * side * 16
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < length + 4:
            raise ValueError("the shard is cut short")
        file.seek(size - length - 4)
        table, checksum = file.read(length), file.read(4)
    if google_crc32c.value(table).to_bytes(4, "little") != checksum:
        raise ValueError("the shard's index is damaged")
    index = np.frombuffer(table, "<u8").reshape(side, side, 2)
    present = index[index[..., 0] != ABSENT]
    if (present > size).any() or (present.sum(axis=1) > size - length - 4).any():
        raise ValueError("the shard's index points outside its file")
    return index


def read_chunk(path: Path, offset: int, length: int) -> bytes:
    """Read one encoded chunk.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), length, offset)
