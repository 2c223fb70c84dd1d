"""One slide stays open a thread, and no longer than it is wanted."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from wsikit.errors import SlideError
from wsikit.slides.fingerprint import quick_stamp
from wsikit.stages.tiling.held_slide import held_slide, release_slide
from wsikit.types import Box


def test_the_same_slide_stays_open_and_another_closes_it(phantom: Path) -> None:
    stamp = tuple(quick_stamp(phantom))
    first = held_slide(phantom, None, stamp)
    assert held_slide(phantom, None, stamp) is first
    changed = held_slide(phantom, None, ((1, 2),))
    assert changed is not first
    with pytest.raises(SlideError, match="closed"):
        first.read(Box(0, 0, 8, 8))
    release_slide()
    with pytest.raises(SlideError, match="closed"):
        changed.read(Box(0, 0, 8, 8))
    release_slide()  # a second time does nothing


def test_a_slide_that_cannot_be_opened_leaves_none_held(phantom: Path, tmp_path: Path) -> None:
    first = held_slide(phantom, None, ())
    with pytest.raises(SlideError):
        held_slide(tmp_path / "gone.tiff", None, ())
    assert held_slide(phantom, None, ()) is not first
    release_slide()


def test_threads_do_not_share(phantom: Path) -> None:
    mine = held_slide(phantom, None, ())
    found = []

    def other() -> None:
        found.append(held_slide(phantom, None, ()))
        release_slide()

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert found[0] is not mine
    assert mine.read(Box(0, 0, 8, 8)).shape == (8, 8, 3)
    release_slide()
