"""The Grad-CAM sheet: colours where the map is high, boxes where lesions are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsikit.heatmap.grad_cam_sheet import LONGER_PX, GradCamPicture, draw_grad_cam
from wsikit.heatmap.sheet import LEGEND, fit_panel, panel_box
from wsikit.types import Mpp

GREY = np.full((40, 60, 3), 90, np.uint8)
MPP = Mpp(200.0, 200.0)
CYAN = (0x35, 0xD0, 0xFF)


def draw(
    path: Path,
    cam: np.ndarray,
    boxes: Sequence[Sequence[float]] | None = None,
    title: str = "a slide",
    mpp: Mpp | None = MPP,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels of the two pictures on the sheet."""
    draw_grad_cam(GradCamPicture(GREY, cam, boxes, title, title, f"for {title}", mpp), path)
    sheet = np.asarray(Image.open(path).convert("RGB")).astype(int)
    panel = fit_panel(GREY, (1.0, 1.0), MPP, LONGER_PX)
    places = [panel_box(panel, index) for index in (0, 1)]
    left, right = (sheet[y : y + height, x : x + width] for x, y, width, height in places)
    return left, right


def test_colours_stand_where_the_map_is_high(tmp_path: Path) -> None:
    cam = np.zeros((40, 60), np.float32)
    cam[:, 30:] = 1
    bare, coloured = draw(tmp_path / "cam.png", cam)
    assert (bare == 90).all()
    changed = np.abs(coloured - 90).max(axis=2) > 20
    half, px = coloured.shape[1] // 2, coloured.shape[1] / 60
    assert changed[:, half + round(px) :].all()
    assert not changed[:, : half - round(px)].any()
    # The bar shows colours as they look over the picture: its top is the highest place's colour.
    right = np.asarray(Image.open(tmp_path / "cam.png").convert("RGB"))[:, -LEGEND:].astype(int)
    assert (np.abs(right - coloured[10, -10]).max(axis=2) <= 4).any()


def test_a_box_is_drawn_on_both_pictures_where_it_lies(tmp_path: Path) -> None:
    pictures = draw(tmp_path / "box.png", np.zeros((40, 60), np.float32), [(10, 5, 30, 20)])
    for picture in pictures:
        px = picture.shape[1] / 60
        rows, cols = (np.abs(picture - CYAN).max(axis=2) < 60).nonzero()
        edges = (cols.min(), rows.min(), cols.max(), rows.max())
        np.testing.assert_allclose(edges, np.array([10, 5, 40, 25]) * px, atol=2)


def test_only_what_is_known_is_said(tmp_path: Path) -> None:
    """Without boxes to know of there are no words on them, and without mpp no bar."""
    cam = np.zeros((40, 60), np.float32)
    sheets = {}
    for name, boxes, mpp in (("all", [], MPP), ("unboxed", None, MPP), ("neither", None, None)):
        draw(tmp_path / "a.png", cam, boxes, mpp=mpp)
        sheets[name] = np.asarray(Image.open(tmp_path / "a.png").convert("L"))[-75:] < 128
    assert sheets["all"].sum() > sheets["unboxed"].sum() > sheets["neither"].sum() == 0


@pytest.mark.parametrize("title", ["", "$x_1^{$ \\frac", "\u202eevil\x00\n", "切片", "x" * 5000])
def test_any_title_and_class_can_be_drawn(tmp_path: Path, title: str) -> None:
    draw(tmp_path / "a.png", np.ones((40, 60), np.float32), title=title)


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw(tmp_path / name, np.eye(40, 60, dtype=np.float32))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
