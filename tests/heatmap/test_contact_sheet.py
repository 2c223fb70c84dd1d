from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsikit.errors import UsageError
from wsikit.heatmap.colours import HEAT_MAPS, heat
from wsikit.heatmap.contact_sheet import (
    BORDER,
    GAP,
    HEADING,
    TOP,
    WORDS,
    Extremes,
    _columns,
    draw_contact_sheet,
    extremes,
)
from wsikit.heatmap.scores import PatchScores
from wsikit.heatmap.sheet import MARGIN
from wsikit.types import Mpp, Size

MPP = Mpp(0.5, 0.5)


def scores_of(values: list[float], kind: str = "probability") -> PatchScores:
    xy = np.array([(230 * n, 37 * n) for n in range(len(values))], np.int32).reshape(-1, 2)
    return PatchScores(xy, Size(200, 200), np.float32(values), "probability of tumour", kind)


def plain(count: int, side: int = 200) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (side, side, 3), np.uint8) for _ in range(count)]


def draw(path: Path, scores: PatchScores, top: int, side: int = 200, **options: str) -> np.ndarray:
    shown = extremes(scores, top)
    pictures = plain(len(shown.highest) + len(shown.lowest), side)
    draw_contact_sheet(scores, shown, pictures, MPP, "a slide", path, **options)
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_extremes_are_sorted_and_apart():
    scores = scores_of([0.3, 0.9, 0.1, 0.9, 0.5])
    both = extremes(scores, 2)
    assert both.highest.tolist() == [1, 3]
    assert both.lowest.tolist() == [2, 0]
    few = extremes(scores, 4)
    assert few.highest.tolist() == [1, 3, 4, 0]
    assert few.lowest.tolist() == [2]
    assert len(extremes(scores_of([]), 3).highest) == 0


def test_of_overlapping_reads_the_best_alone_is_shown():
    xy = np.array([(x, 0) for x in range(0, 1000, 50)], np.int32)
    values = np.exp(-((xy[:, 0] - 430) ** 2) / 1e4).astype(np.float32)
    scores = PatchScores(xy, Size(50, 50), values, "p", "probability")
    both = extremes(scores, 3, Size(200, 200))
    assert xy[both.highest, 0].tolist() == [450, 250, 650]
    assert xy[both.lowest, 0].tolist() == [950, 0, 750]


@pytest.mark.parametrize("colours", HEAT_MAPS)
def test_patches_are_shown_pixel_for_pixel_in_the_colour_of_their_score(
    tmp_path: Path, colours: str
):
    scores = scores_of([0.0, 0.25, 0.5, 0.75, 1.0, 0.6])
    sheet = draw(tmp_path / "a.png", scores, 3, colours=colours)
    pictures = plain(6)
    cell = 200 + 2 * BORDER
    for n, patch in enumerate([4, 3, 5, 0, 1, 2]):
        left = MARGIN + n % 3 * (cell + GAP)
        top = TOP + HEADING + n // 3 * (cell + WORDS + GAP + HEADING)
        framed = sheet[top : top + cell, left : left + cell]
        np.testing.assert_array_equal(framed[BORDER:-BORDER, BORDER:-BORDER], pictures[n])
        wanted = heat(scores.shown[patch : patch + 1], colours)[0]
        assert (framed[0] == wanted).all()
        assert (framed[:, 0] == wanted).all()
        assert (framed[-1] == wanted).all()


def test_the_scale_bar_has_the_length_it_says(tmp_path: Path):
    sheet = draw(tmp_path / "a.png", scores_of([0.1, 0.9]), 1)
    dark = (sheet < 60).all(axis=2)[:, MARGIN : MARGIN + 300]
    runs = [row.sum() for row in dark[-FOOT_PX:] if row[:90].all()]
    assert max(runs) == pytest.approx(50 / 0.5, abs=1.01)


FOOT_PX = 110


@pytest.mark.parametrize("kind", ["probability", "attention"])
@pytest.mark.parametrize(("count", "top"), [(0, 8), (1, 8), (5, 8), (40, 8)])
def test_any_number_of_patches(tmp_path: Path, count: int, top: int, kind: str):
    values = np.linspace(0, 1, count).tolist()
    assert draw(tmp_path / "a.png", scores_of(values, kind), top).ndim == 3


def test_large_and_small_patches_fit(tmp_path: Path):
    values = np.linspace(0, 1, 40).tolist()
    large = draw(tmp_path / "a.png", scores_of(values), 2, side=1500)
    small = draw(tmp_path / "b.png", scores_of(values), 8, side=16)
    assert large.shape[1] < 2500
    assert small.shape[1] < 2500


@pytest.mark.parametrize("title", ["", "$x_1^{$", "\u202eevil\x00\n", "切片", "x" * 5000])
def test_any_words(tmp_path: Path, title: str):
    scores = PatchScores(
        np.zeros((1, 2), np.int32), Size(9, 9), np.float32([1]), title, "attention"
    )
    shown = Extremes(np.array([0]), np.zeros(0, np.int64))
    for mpp in (MPP, Mpp(0.5, 0.46)):
        draw_contact_sheet(scores, shown, plain(1), mpp, title, tmp_path / "a.png", origin=title)
    assert (tmp_path / "a.png").is_file()


def test_equal_input_gives_equal_bytes(tmp_path: Path):
    for name in ("a", "b"):
        draw(tmp_path / name, scores_of([0.1, 0.5]), 1)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_failed_write_leaves_nothing(tmp_path: Path):
    (tmp_path / "f").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        draw(tmp_path / "f" / "a.png", scores_of([0.1]), 1)
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize(("count", "most", "columns"), [(8, 7, 4), (8, 9, 8), (1, 9, 3), (9, 4, 3)])
def test_rows_are_equally_long(count: int, most: int, columns: int):
    assert _columns(count, most) == columns
