"""Keep a worker's slide open from one task to the next.

Each task opens its slide itself and none is ever sent to a worker. But the next task is mostly of
the same slide, and its tiles on the border are decoded already: so the last slide stays open, one a
thread, until another is wanted or the run ends.
"""

from __future__ import annotations

import threading
from pathlib import Path

from wsikit.slides.open import open_slide
from wsikit.slides.slide import Slide
from wsikit.types import Mpp

Stamp = tuple[tuple[int, int], ...]

_held = threading.local()


def held_slide(path: Path, mpp: Mpp | None, stamp: Stamp) -> Slide:
    """Return an open slide, the one of the last call if it is the same.

    Args:
        path: the slide's file or folder.
        mpp: what the user says of its resolution.
        stamp: size and time of its files: another stamp is another slide.

    Raises:
        SlideError: it cannot be opened.
    """
    key = (path, mpp, stamp)
    if getattr(_held, "key", None) != key:
        release_slide()
        _held.slide = open_slide(path, mpp)
        _held.key = key
    slide: Slide = _held.slide
    return slide


def release_slide() -> None:
    """Close the slide that is held, if one is."""
    slide: Slide | None = getattr(_held, "slide", None)
    if slide is not None:
        slide.close()
    _held.slide = _held.key = None
