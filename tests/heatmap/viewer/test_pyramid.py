from __future__ import annotations

import io
import math
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from tests.heatmap.viewer.made_subject import read_from
from wsikit.heatmap.viewer import pyramid as module
from wsikit.heatmap.viewer.pyramid import TILE_PX, halve, plan_pyramid, write_pyramid
from wsikit.types import Box, Mpp, Size

MPP = Mpp(0.5, 0.46)


def picture(height: int, width: int) -> np.ndarray:
    smooth = gaussian_filter(np.random.default_rng(0).random((height, width)), 25)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return np.rint(smooth[..., None] * [255, 200, 230]).astype(np.uint8)


def tiles_of(image: np.ndarray, mpp: float, read=None):
    height, width = image.shape[:2]
    plan = plan_pyramid(Size(width, height), MPP, mpp)
    files: dict[str, bytes] = {}
    overview = write_pyramid(plan, read or read_from(image, MPP), files.__setitem__, 95)
    return plan, files, overview


def assembled(files: dict[str, bytes], level: int) -> np.ndarray:
    rows: dict[int, dict[int, np.ndarray]] = {}
    for name, content in files.items():
        _, own, place = name.removesuffix(".jpg").split("/")
        if int(own) == level:
            col, row = map(int, place.split("_"))
            with Image.open(io.BytesIO(content)) as tile:
                rows.setdefault(row, {})[col] = np.asarray(tile)
    lines = [np.concatenate([rows[r][c] for c in sorted(rows[r])], axis=1) for r in sorted(rows)]
    return np.concatenate(lines)


@pytest.mark.parametrize("shape", [(1301, 2400), (2500, 701), (300, 200)])
@pytest.mark.parametrize("mpp", [0.5, 0.8])
def test_every_level_is_the_slide_averaged_down(shape: tuple[int, int], mpp: float):
    image = picture(*shape)
    plan, files, overview = tiles_of(image, mpp)
    whole = Image.fromarray(image)
    for level in range(plan.levels):
        down = 2 ** (plan.levels - 1 - level)
        size = (math.ceil(plan.size.width / down), math.ceil(plan.size.height / down))
        got = assembled(files, level)
        assert got.shape[:2] == size[::-1]
        expected = np.asarray(whole.resize(size, Image.Resampling.BOX)).astype(int)
        assert np.abs(got - expected).mean() < 3
    assert max(size) <= max(plan.size)
    assert max(overview.shape[:2]) <= TILE_PX
    assert overview.shape[:2] == assembled(files, 0).shape[:2]


def test_pixels_are_square_in_micrometres():
    plan = plan_pyramid(Size(10000, 10000), MPP, 1.0)
    assert (plan.size.width, plan.size.height) == (5000, 4600)
    assert plan.scale == pytest.approx((2.0, 10000 / 4600))


def test_what_is_read_does_not_grow_with_the_slide(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PIECE_PX", 1024)
    image, asked = picture(1500, 3900), []
    read = read_from(image, MPP)

    def watched(region: Box, mpp: Mpp) -> np.ndarray:
        out = read(region, mpp)
        asked.append(out.shape)
        return out

    _, files, _ = tiles_of(image, 0.5, watched)
    assert max(shape[0] * shape[1] for shape in asked) <= 1024 * TILE_PX
    _, whole, _ = tiles_of(image, 0.5)
    assert files.keys() == whole.keys()


def test_memory_does_not_grow_with_the_height_of_the_slide():
    noise = np.random.default_rng(0).integers(0, 255, (TILE_PX, 1500, 3), np.uint8)

    def peak(height: int) -> int:
        plan = plan_pyramid(Size(1500, height), Mpp(1, 1), 1.0)
        tracemalloc.start()
        write_pyramid(plan, lambda box, mpp: noise[: int(box.height)], lambda *_: None, 80)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(16 * TILE_PX) < 1.3 * peak(4 * TILE_PX)


def test_a_reader_that_uses_a_level_of_nearly_the_mpp_is_set_right():
    image = picture(1301, 2400)
    plan, files, _ = tiles_of(image, 0.5, lambda box, mpp: read_from(image, MPP)(box, MPP))
    _, true, _ = tiles_of(image, 0.5)
    top = plan.levels - 1
    assert np.abs(assembled(files, top).astype(int) - assembled(true, top)).mean() < 1.5


def test_an_odd_last_row_and_column_counts_twice():
    image = np.arange(9, dtype=np.uint8).reshape(3, 3, 1).repeat(3, axis=2) * 10
    assert halve(image)[:, :, 0].tolist() == [[20, 35], [65, 80]]
