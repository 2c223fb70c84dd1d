"""What a file of drawn areas holds, whatever wrote it, and how its text is taken in."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsikit.errors import SlideError
from wsikit.tissue.outlines import check_tangle

MOST_BYTES = 64 << 20
"""A file may hold this much text; the drawn areas of a slide take a thousandth of it."""


@dataclass(frozen=True)
class Area:
    """One drawn area.

    Attributes:
        shape: a valid shapely Polygon or MultiPolygon, px as the file counts them, not empty.
        name: its class as QuPath writes it (`Tumor`, `Tumor: Positive`), or its ASAP group; empty
            where it has none.
    """

    shape: Any
    name: str


@dataclass(frozen=True)
class AreaFile:
    """What a file holds.

    Attributes:
        areas: its areas, in the file's order.
        passed_over: what has no area, by its type.
        digest: SHA-256 (hex) of the text; a gzipped file has that of what it unpacks to.
        offset_l0: what was added to level-0 coordinates, (x, y), where the file tells: its own
            word, or a program that is known to add nothing. None: it depends on the viewer.
    """

    areas: tuple[Area, ...]
    passed_over: Mapping[str, int]
    digest: str
    offset_l0: tuple[float, float] | None = None

    def names(self) -> list[str]:
        """List the classes that occur, sorted."""
        return sorted({area.name for area in self.areas if area.name})

    def passed_over_words(self) -> str:
        """Say what was passed over, for a message; empty where nothing was."""
        return ", ".join(f"{count} {kind}" for kind, count in sorted(self.passed_over.items()))


def file_digest(path: Path) -> str:
    """Return the digest of a file's text without reading areas from it.

    Raises:
        SlideError: the file cannot be read or is too large.
    """
    return text_digest(read_text(path))


def text_digest(text: bytes) -> str:
    """Return the SHA-256 of a text, in hex."""
    return hashlib.sha256(text).hexdigest()


def read_text(path: Path) -> bytes:
    """Read a file, unpacking gzip, and never more than `MOST_BYTES` of either.

    Raises:
        SlideError: it cannot be read or is too large.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            text = (gzip.GzipFile(fileobj=file) if packed else file).read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "damaged"
        raise SlideError(f"{path}: cannot be read ({reason})", "check the file") from error
    if len(text) > MOST_BYTES:
        raise SlideError(
            f"{path}: more than {MOST_BYTES >> 20} MB of drawn areas",
            "export only the regions, without cells and measurements",
        )
    return text


def refuse_tangle(path: Path, areas: Sequence[Area]) -> None:
    """Refuse areas that would take minutes to join.

    Raises:
        SlideError: they cross one another too often.
    """
    try:
        check_tangle([area.shape for area in areas])
    except ValueError as error:
        raise SlideError(f"{path}: {error}", "simplify the outlines") from None
