from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsikit.errors import UsageError
from wsikit.heatmap.clusters import draw_clusters
from wsikit.heatmap.colours import heat
from wsikit.heatmap.overlay import draw_overlay
from wsikit.heatmap.scores import PatchScores
from wsikit.heatmap.sheet import (
    PANEL_PX,
    TruthOutline,
    clean,
    fit_panel,
    length_words,
    panel_box,
    round_length,
    shorten,
)
from wsikit.types import Mpp, Size

MPP = Mpp(0.25, 0.27)
SCALE = (16.0, 15.0)
TISSUE = (225, 160, 195)


def thumbnail(height: int = 150, width: int = 200) -> np.ndarray:
    return np.full((height, width, 3), TISSUE, np.uint8)


def two_patches() -> PatchScores:
    xy = np.array([(320, 600), (1600, 1200)], np.int32)
    values = np.float32([0.1, 0.9])
    return PatchScores(xy, Size(320, 300), values, "probability of tumour", "probability")


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def panel_pixels(path: Path, image: np.ndarray, scale: tuple[float, float], index: int):
    left, top, width, height = panel_box(fit_panel(image, scale, MPP), index)
    return read(path)[top : top + height, left : left + width]


@pytest.mark.parametrize("shape", [(150, 200), (60, 240), (240, 60)])
def test_patches_land_to_the_pixel(tmp_path: Path, shape: tuple[int, int]):
    image = thumbnail(*shape)
    xy = np.array([(160, 150), (480, 450)], np.int32)
    scores = PatchScores(xy, Size(160, 150), np.float32([0.0, 1.0]), "p", "probability")
    draw_overlay(image, SCALE, scores, MPP, "two patches", tmp_path / "a.png")
    bare = panel_pixels(tmp_path / "a.png", image, SCALE, 0)
    drawn = panel_pixels(tmp_path / "a.png", image, SCALE, 1)
    assert (bare == TISSUE).all()
    um = (shape[1] * SCALE[0] * MPP.x, shape[0] * SCALE[1] * MPP.y)
    um_per_px = max(um) / PANEL_PX
    expected = np.broadcast_to(np.array(TISSUE, float), drawn.shape).copy()
    for (x, y), colour in zip(xy, heat(np.array([0.0, 1.0])), strict=True):
        across = (np.arange(drawn.shape[1]) + 0.5) * um[0] / drawn.shape[1] / MPP.x
        down = (np.arange(drawn.shape[0]) + 0.5) * um[1] / drawn.shape[0] / MPP.y
        inside = np.outer((y <= down) & (down < y + 150), (x <= across) & (across < x + 160))
        # The patch is 40 um wide and 40.5 um high, whatever the thumbnail's pixels are.
        assert inside.any(1).sum() == pytest.approx(40.5 / um_per_px, abs=1.01)
        assert inside.any(0).sum() == pytest.approx(40.0 / um_per_px, abs=1.01)
        expected[inside] = 0.55 * np.array(TISSUE) + 0.45 * colour
    assert np.abs(drawn - expected).max() <= 0.51


def test_the_picture_is_physically_true():
    panel = fit_panel(thumbnail(), SCALE, Mpp(0.25, 0.5))
    assert panel.size.width / panel.size.height == pytest.approx(
        200 * 16 * 0.25 / (150 * 15 * 0.5), rel=2e-3
    )
    assert max(panel.size) == PANEL_PX


def test_equal_input_gives_equal_bytes_without_program_or_time(tmp_path: Path):
    for name in ("a.png", "b.png"):
        draw_overlay(thumbnail(), SCALE, two_patches(), MPP, "same", tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.info == {}


def test_truth_is_outlined_where_it_lies(tmp_path: Path):
    image = thumbnail()
    mask = np.zeros((75, 100), bool)
    mask[20:50, 30:80] = True
    nothing = PatchScores(
        np.zeros((0, 2), np.int32), Size(1, 1), np.zeros(0, np.float32), "p", "probability"
    )
    truth = TruthOutline(mask, (32.0, 30.0), "tumour")
    draw_overlay(image, SCALE, nothing, MPP, "t", tmp_path / "a.png", truth=truth)
    drawn = panel_pixels(tmp_path / "a.png", image, SCALE, 1)
    rows, cols = np.nonzero((drawn < 40).all(axis=2))
    height, width = drawn.shape[:2]
    wanted = (20 / 75 * height, 50 / 75 * height, 30 / 100 * width, 80 / 100 * width)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == pytest.approx(wanted, abs=3)
    assert (drawn[height // 2, width // 2] == TISSUE).all()
    assert (panel_pixels(tmp_path / "a.png", image, SCALE, 0) == TISSUE).all()


@pytest.mark.parametrize("value", [False, True])
def test_truth_that_is_nowhere_or_everywhere(tmp_path: Path, value: bool):
    truth = TruthOutline(np.full((75, 100), value), (32.0, 30.0), "tumour")
    draw_overlay(thumbnail(), SCALE, two_patches(), MPP, "t", tmp_path / "a.png", truth=truth)
    assert (tmp_path / "a.png").is_file()


@pytest.mark.parametrize(
    "title", ["", "$x_1^{$ \\frac", "\u202eevil\x00\n", "切片 慢", "broken \udcff", "x" * 5000]
)
def test_any_title_can_be_drawn(tmp_path: Path, title: str):
    xy = np.zeros((1, 2), np.int32)
    scores = PatchScores(xy, Size(16, 15), np.float32([1.0]), title, "attention")
    draw_overlay(thumbnail(20, 20), SCALE, scores, MPP, title, tmp_path / "a.png")
    assert read(tmp_path / "a.png").ndim == 3


def test_a_failed_write_leaves_nothing(tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(UsageError, match="cannot write"):
        draw_overlay(thumbnail(), SCALE, two_patches(), MPP, "t", blocked / "a.png")
    (tmp_path / "a.png").mkdir()
    with pytest.raises(UsageError, match="cannot write"):
        draw_overlay(thumbnail(), SCALE, two_patches(), MPP, "t", tmp_path / "a.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "file"]


def test_clusters_are_drawn_and_counted(tmp_path: Path):
    image = thumbnail()
    xy = np.array([(0, 0), (320, 0), (640, 0)], np.int32)
    args = (image, SCALE, xy, Size(320, 300), np.array([0, 1, 1]), MPP, "groups")
    draw_clusters(*args, tmp_path / "a.png")
    draw_clusters(*args, tmp_path / "b.png", names=["fat", "stroma"])
    drawn = panel_pixels(tmp_path / "a.png", image, SCALE, 1)
    assert len({tuple(drawn[20, x]) for x in (20, 150, 250, 600)}) == 3
    assert (drawn[20, 150] == drawn[20, 250]).all()
    assert (drawn[20, 600] == TISSUE).all()
    with pytest.raises(ValueError, match="2 groups but 1 names"):
        draw_clusters(*args, tmp_path / "c.png", names=["fat"])


def test_clusters_of_nothing(tmp_path: Path):
    none = np.zeros((0, 2), np.int32)
    draw_clusters(
        thumbnail(), SCALE, none, Size(9, 9), np.zeros(0, np.int64), MPP, "t", tmp_path / "a.png"
    )
    assert (tmp_path / "a.png").is_file()


@pytest.mark.parametrize(
    ("at_most", "length", "words"),
    [(999, 500, "500 µm"), (1000, 1000, "1 mm"), (7300, 5000, "5 mm"), (0.3, 0.2, "0.2 µm")],
)
def test_scale_bar_has_a_round_length(at_most: float, length: float, words: str):
    assert round_length(at_most) == pytest.approx(length)
    assert length_words(round_length(at_most)) == words


def test_words():
    assert shorten("abcdefghij", 5) == "ab…ij"
    assert clean("a\tb\u202e\x07c") == "a bc"
