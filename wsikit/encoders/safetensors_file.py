"""Read the header of a safetensors file that may say anything."""

from __future__ import annotations

import json
from pathlib import Path

from wsikit.errors import WeightsError

LENGTH_BYTES = 8
LARGEST_HEADER = 2**24
"""Bytes. A header has about 100 for a tensor; the largest networks known have some 1,000."""


def read_metadata(path: Path) -> dict[str, str]:
    """Return what a file says of itself beside its tensors.

    Args:
        path: a .safetensors file, not trusted.

    Raises:
        WeightsError: it is absent, or its header is longer than the file or than any header.
    """
    header = _header(path)
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _damaged(path, "its metadata is no table of texts")
    return metadata


def _header(path: Path) -> dict[str, object]:
    """Return the header, as it stands."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            start = file.read(LENGTH_BYTES)
            length = int.from_bytes(start, "little")
            if len(start) < LENGTH_BYTES or length > size - LENGTH_BYTES:
                raise _damaged(path, f"{size} bytes do not hold the header it announces")
            if length > LARGEST_HEADER:
                raise _damaged(path, f"a header of {length} bytes")
            header = json.loads(file.read(length))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "its header is not JSON") from error
    if not isinstance(header, dict):
        raise _damaged(path, "its header is no table")
    return header


def _damaged(path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"{path}: not a readable safetensors file ({why})", "copy or download it again"
    )
