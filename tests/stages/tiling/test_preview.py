"""The preview: every pixel tells what became of the patch it lies in."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from wsikit.errors import UsageError
from wsikit.geometry import PatchGrid
from wsikit.heatmap.sheet import fit_panel, panel_box
from wsikit.stages.tiling.preview import LINE, LONGER_PX, MARKS, write_preview
from wsikit.store.decisions import REASONS, Decisions
from wsikit.types import Mpp, Size

MPP = Mpp(0.25, 0.27)
TISSUE = (225, 160, 195)
SLIDE = Size(6000, 4100)
SCALE = (20.0, 20.5)  # a thumbnail of 300 x 200 px


def slide(reason: np.ndarray, patch_px: int = 256, name: str = "a slide"):
    """A slide of one colour, as far as a preview looks at it."""
    grid = PatchGrid(SLIDE, (2.0, 1.9), patch_px)
    assert reason.shape == (grid.rows, grid.cols)
    shares = np.zeros(reason.shape, np.float32)
    return SimpleNamespace(
        slide_id=name,
        grid=grid,
        mpp_l0=MPP,
        thumbnail_scale=SCALE,
        thumbnail=lambda: np.full((200, 300, 3), TISSUE, np.uint8),
        decisions=Decisions(shares, shares, reason.astype(np.uint8)),
    )


def shape(patch_px: int = 256) -> tuple[int, int]:
    grid = PatchGrid(SLIDE, (2.0, 1.9), patch_px)
    return grid.rows, grid.cols


def drawn(stored, path: Path) -> np.ndarray:
    """The right-hand picture, pixel by pixel."""
    write_preview(stored, path)
    panel = fit_panel(stored.thumbnail(), SCALE, MPP, LONGER_PX)
    left, top, width, height = panel_box(panel, 1)
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))[top : top + height, left : left + width]


def patch_pixels(picture: np.ndarray, row: int, col: int, inner: float = 0.0) -> np.ndarray:
    """Pixels whose centre lies in a patch, by its place in micrometres; `inner`: without rim."""
    height, width = picture.shape[:2]
    x = (np.arange(width) + 0.5) * SLIDE.width / width / (256 * 2.0) - col
    y = (np.arange(height) + 0.5) * SLIDE.height / height / (256 * 1.9) - row
    rows = np.flatnonzero((y >= inner) & (y < 1 - inner))
    cols = np.flatnonzero((x >= inner) & (x < 1 - inner))
    return picture[np.ix_(rows, cols)].reshape(-1, 3)


def test_every_patch_shows_what_became_of_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    reason = rng.integers(0, len(REASONS), shape())
    picture = drawn(slide(reason), tmp_path / "p.png")
    looks = {}
    for row, col in np.ndindex(reason.shape):
        name = REASONS[reason[row, col]]
        if name == "kept":
            inner = patch_pixels(picture, row, col, 0.25)
            whole = row + 1 < reason.shape[0] and col + 1 < reason.shape[1]  # not cut by the edge
            assert not whole or (inner == TISSUE).all()
            rim = patch_pixels(picture, row, col)
            assert (rim == LINE).all(axis=1).any()
        else:
            pixels = patch_pixels(picture, row, col)
            assert not (pixels == LINE).all(axis=1).any()
            looks.setdefault(name, set()).update(map(tuple, pixels.tolist()))
    assert set(looks) == set(MARKS)
    assert all(len(colours) <= 2 for colours in looks.values())
    everything = [colour for colours in looks.values() for colour in colours]
    assert len(everything) == len(set(everything))
    assert TISSUE not in everything


@pytest.mark.parametrize("reason", range(len(REASONS)))
def test_one_reason_alone_can_be_drawn(tmp_path: Path, reason: int) -> None:
    picture = drawn(slide(np.full(shape(), reason)), tmp_path / "p.png")
    assert (picture == LINE).all(axis=2).any() == (REASONS[reason] == "kept")


def test_marks_differ_in_lightness_or_stripes_and_not_only_in_hue() -> None:
    """What a reader sees who tells no colours apart: grey value over tissue, and stripes."""

    def grey(colour) -> float:
        return float(np.dot(colour, (0.299, 0.587, 0.114)))

    looks = [(mark.stripes, grey(mark.colour) * mark.alpha + 180 * (1 - mark.alpha))
             for mark in MARKS.values()]  # fmt: skip
    for i, (stripes, level) in enumerate(looks):
        for other_stripes, other_level in looks[:i]:
            assert stripes != other_stripes or abs(level - other_level) > 15


def test_small_patches_are_outlined_as_a_whole(tmp_path: Path) -> None:
    """Lines around each of 40,000 patches would hide the tissue."""
    patch_px = 16
    reason = np.ones(shape(patch_px))
    reason[40:120, 50:140] = 0
    assert reason.size > 20_000
    picture = drawn(slide(reason, patch_px), tmp_path / "p.png")
    lines = (picture == LINE).all(axis=2)
    rows, cols = np.flatnonzero(lines.any(axis=1)), np.flatnonzero(lines.any(axis=0))
    assert picture.shape[0] / 2 < len(rows) < picture.shape[0]  # 80 of 135 rows
    inside = lines[rows[0] + 1 : rows[-1], cols[0] + 1 : cols[-1]]
    assert not inside.any()
    assert (picture[rows[0] + 2 : rows[-1] - 1, cols[0] + 2 : cols[-1] - 1] == TISSUE).all()


@pytest.mark.parametrize("size", [(200, 300), (40, 700), (700, 40)])
def test_the_sheet_is_at_most_about_two_thousand_px(tmp_path: Path, size: tuple[int, int]) -> None:
    height, width = size
    grid = PatchGrid(Size(width * 10, height * 10), (1.0, 1.0), 100)
    shares = np.zeros((grid.rows, grid.cols), np.float32)
    stored = SimpleNamespace(
        slide_id="x" * 128, grid=grid, mpp_l0=Mpp(0.5, 0.5), thumbnail_scale=(10.0, 10.0),
        thumbnail=lambda: np.full((height, width, 3), TISSUE, np.uint8),
        decisions=Decisions(shares, shares, np.zeros(shares.shape, np.uint8)),
    )  # fmt: skip
    write_preview(stored, tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as picture:
        assert max(picture.size) <= 2100


def test_the_same_slide_gives_the_same_bytes_and_folders_are_made(tmp_path: Path) -> None:
    stored = slide(np.zeros(shape()))
    first, second = tmp_path / "new" / "a.png", tmp_path / "b.png"
    write_preview(stored, first)
    write_preview(stored, second)
    assert first.read_bytes() == second.read_bytes()
    assert [p.name for p in first.parent.iterdir()] == ["a.png"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot write .*p\.png"):
        write_preview(slide(np.zeros(shape())), tmp_path / "file" / "p.png")
