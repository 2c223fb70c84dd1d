"""Heatmaps inside the page as far as they fit; the others are linked."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image

INLINE_BYTES = 12_000_000
"""How much of the page heatmaps may take up: a file of this size still travels by mail."""

MOST_PX = (1400, 1000)
QUALITY = 82


@dataclass(frozen=True)
class Picture:
    """A heatmap as the page shows it.

    Attributes:
        link: path relative to the page, percent-encoded.
        data: base64 JPEG; None where it is only linked.
        width: of the inlined picture, in px; 0 where it is only linked.
        height: likewise.
        problem: why it cannot be shown; empty where it can.
    """

    link: str
    data: str | None = None
    width: int = 0
    height: int = 0
    problem: str = ""

    @property
    def only_linked(self) -> bool:
        """Whether the file is there but did not fit into the page."""
        return self.data is None and not self.problem


def inline_pictures(
    heatmaps: Sequence[Path | None], folder: Path, most_bytes: int = INLINE_BYTES
) -> list[Picture | None]:
    """Take in pictures, in the order given, until the page is full.

    Args:
        heatmaps: PNG files; None where a slide has none.
        folder: where the page will lie.
        most_bytes: of base64 text, over all pictures.

    Returns:
        One picture a file. Once one does not fit, the rest are linked.
    """
    pictures: list[Picture | None] = []
    left = most_bytes
    for path in heatmaps:
        picture = None if path is None else _picture(path, relative_link(path, folder), left)
        if picture is not None and picture.data is not None:
            left -= len(picture.data)
        elif picture is not None and picture.only_linked:
            left = 0
        pictures.append(picture)
    return pictures


def relative_link(path: Path, folder: Path) -> str:
    """Return the link from a page in `folder` to a file, with no character left to misread."""
    relative = Path(os.path.relpath(path, folder)).as_posix()
    return quote(os.fsencode(relative))


def _picture(path: Path, link: str, most_bytes: int) -> Picture:
    if not path.is_file():
        return Picture(link, problem="the heatmap file is missing")
    if most_bytes <= 0:
        return Picture(link)
    try:
        data, size = _jpeg(path)
    except (OSError, ValueError, Image.DecompressionBombError):
        return Picture(link, problem="the heatmap file cannot be read")
    return Picture(link, data, *size) if len(data) <= most_bytes else Picture(link)


def _jpeg(path: Path) -> tuple[str, tuple[int, int]]:
    """Return a picture as base64 JPEG, scaled down to `MOST_PX`, and its size."""
    with Image.open(path, formats=("PNG", "JPEG")) as source:
        small = source.convert("RGB")
    small.thumbnail(MOST_PX, Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, format="JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(out.getvalue()).decode("ascii"), small.size
