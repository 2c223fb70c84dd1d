"""The Grad-CAM sheet: colours where the map is high, boxes where lesions are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from wsikit.heatmap.grad_cam_sheet import draw_grad_cam


def draw(path: Path, cam: np.ndarray, boxes: list) -> np.ndarray:
    picture = np.full((40, 80, 3), 90, np.uint8)
    draw_grad_cam(picture, cam, boxes, "a slide", "for malignant", path, mpp=200.0)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_colours_stand_where_the_map_is_high(tmp_path: Path) -> None:
    cam = np.zeros((40, 80), np.float32)
    bare = draw(tmp_path / "bare.png", cam, [])
    cam[:, 40:] = 1
    sheet = draw(tmp_path / "cam.png", cam, [])
    changed = np.abs(sheet - bare).max(axis=2) > 20
    grey = np.flatnonzero((np.abs(bare - 90).max(axis=2) <= 1).sum(axis=0) > 50)
    middle = (grey.min() + grey.max()) / 2
    rows = changed[sheet.shape[0] // 2].nonzero()[0]  # through the panels, below the titles
    panel = rows[(rows > middle) & (rows < grey.max() + 2)]
    assert len(panel) > 20
    assert not ((rows < middle) & (rows > grey.min())).any()  # the left panel is the bare picture
    right = grey[grey > middle]
    assert panel.min() > (right.min() + right.max()) / 2 - 3


def test_boxes_are_drawn_on_both_panels(tmp_path: Path) -> None:
    cam = np.zeros((40, 80), np.float32)
    sheet = draw(tmp_path / "box.png", cam, [(10, 5, 20, 10)])
    cyan = (np.abs(sheet - [0x35, 0xD0, 0xFF]).max(axis=2) < 30).nonzero()
    assert len(cyan[0]) > 100
    columns = np.sort(np.unique(cyan[1]))
    assert (np.diff(columns) > 50).sum() >= 1  # two boxes, apart
    assert len(cyan[0]) > 4 * len(
        (
            np.abs(draw(tmp_path / "no.png", cam, []) - [0x35, 0xD0, 0xFF]).max(axis=2) < 30
        ).nonzero()[0]
    )
