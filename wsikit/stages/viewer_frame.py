"""Where a viewer counts a slide's pixels from: its corner, or that of what was scanned of it.

Some scanners state within which rectangle of the slide they stored pixels: OpenSlide's properties
`bounds-x`, `bounds-y`, `bounds-width` and `bounds-height`, as MRXS has them, and Leica SCN and
others too. Wsikit's level-0 frame begins at the slide's corner, with or without them. QuPath since
0.2 cuts such a slide to the rectangle and counts from its corner, whatever the format, if all four
are there and whole numbers (its `OpenslideImageServer`), unless the image was added with
`--no-crop`; so do the coordinates that it writes and reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from wsikit.store.stored_slide import StoredSlide

Origin = Literal["qupath", "slide"]
"""`qupath`: the corner of the scanned bounds where a slide states them. `slide`: its own corner."""

BOUNDS = ("bounds-x", "bounds-y", "bounds-width", "bounds-height")


def viewer_corner(properties: Mapping[str, Any], origin: Origin) -> tuple[int, int]:
    """Return the point that a viewer counts from, (x, y) in the slide's level-0 px.

    Args:
        properties: a slide's, as `wsikit.slides.properties` lets them through.
        origin: which point is meant.
    """
    stated = [str(properties.get(name, "")) for name in BOUNDS]
    if origin == "slide" or not all(part.removeprefix("-").isdecimal() for part in stated):
        return (0, 0)
    return (int(stated[0]), int(stated[1]))


def stored_corner(slide: StoredSlide, origin: Origin) -> tuple[int, int]:
    """Return the same of a stored slide; one that was ingested without its file has no bounds."""
    return viewer_corner(slide.attributes.get("properties", {}), origin)
