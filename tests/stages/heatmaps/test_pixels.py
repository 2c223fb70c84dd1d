"""Pixels in the level-0 frame, from the slide's file or from the store, and no other file's."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.stages.heatmaps.conftest import Drawn
from wsikit.errors import SlideError
from wsikit.slides.open import open_slide
from wsikit.stages.heatmaps.pixels import slide_files, slide_pixels
from wsikit.stages.heatmaps.stored_pixels import StoredPixels
from wsikit.store.store import Store
from wsikit.types import Box, Mpp

pytestmark = pytest.mark.usefixtures("one_thread")


def test_stored_pixels_are_the_stored_patches_each_in_its_place(trained: Drawn) -> None:
    stored = Store(trained.store).slide("s001")
    grid, patches = stored.grid, stored.patches
    with StoredPixels(stored) as pixels:
        for index in (0, len(patches) // 2, len(patches) - 1):
            row, col = int(patches.row[index]), int(patches.col[index])
            box = grid.region_l0(col * 128, row * 128, 128, 128)
            patch = stored.read_patch(index)
            inside = patch[: grid.image_px.height - row * 128, : grid.image_px.width - col * 128]
            own = pixels.read(box)[: inside.shape[0], : inside.shape[1]]
            np.testing.assert_array_equal(own, inside)
        assert pixels.mpp == pytest.approx(stored.mpp)
        assert "reinhard" in pixels.origin


def test_stored_pixels_show_what_the_slide_shows(trained: Drawn) -> None:
    """Bar the stain: grey values of a coarse read follow those of the slide's own file."""
    stored = Store(trained.store).slide("s003")
    width, height = stored.grid.slide_px
    mpp = Mpp(8.0, 8.0)
    with (
        StoredPixels(stored) as ours,
        open_slide(trained.slides / "s003.tiff") as slide,
    ):
        for box in (Box(0, 0, width, height), Box(-40, 30.5, width / 2, height)):
            a, b = ours.read(box, mpp), slide.read(box, mpp)
            assert a.shape == b.shape
            both = np.corrcoef(a.mean(axis=2).ravel(), b.mean(axis=2).ravel())[0, 1]
            assert both > 0.93
        with pytest.raises(SlideError, match="coarser"):
            ours.read(Box(0, 0, 100, 100), Mpp(0.2, 0.2))


def test_the_file_is_read_where_it_is_given_and_the_very_one(drawn: Drawn, tmp_path: Path) -> None:
    store, said = Store(drawn.store), []
    stored = store.slide("s001")
    files = slide_files(drawn.slides)
    with slide_pixels(store, stored, files, said.append)() as pixels:
        own = pixels.read(Box(10, 20, 50, 40))
    with open_slide(drawn.slides / "s001.tiff") as slide:
        np.testing.assert_array_equal(own, slide.read(Box(10, 20, 50, 40)))
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.copy(drawn.slides / "s001.tiff", moved / "s001.tiff")  # another time, the same content
    with slide_pixels(store, stored, slide_files(moved), said.append)() as pixels:
        assert "own file" in pixels.origin
    assert not said


def test_another_file_is_refused_and_a_missing_one_told(drawn: Drawn, tmp_path: Path) -> None:
    store, said = Store(drawn.store), []
    stored = store.slide("s001")
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(drawn.slides / "s002.tiff", other / "s001.tiff")
    with pytest.raises(SlideError, match="not the file that slide 's001'"):
        slide_pixels(store, stored, slide_files(other), said.append)
    shutil.copy(drawn.slides / "s002.tiff", other / "s002.tiff")
    files = {k: v for k, v in (slide_files(other) or {}).items() if k == "s002"}
    with slide_pixels(store, stored, files, said.append)() as pixels:
        assert "store" in pixels.origin
    assert said == ["s001: not among the files of --slides, so pixels come from the store"]
