"""What every slide reader must do. A reader's test class inherits `SlideConformance`.

It supplies one fixture, `case`: a slide on disk whose pixels are known. Truths here are dense
formulas written again, not calls into the package.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from wsikit.errors import SlideError
from wsikit.slides.slide import Slide
from wsikit.types import Box, Mpp

ALLOWED = {
    "vendor",
    "background-color",
    "mpp-x",
    "mpp-y",
    "objective-power",
    "bounds-x",
    "bounds-y",
    "bounds-width",
    "bounds-height",
    "level-count",
}


@dataclass(frozen=True)
class SlideCase:
    """A slide of known truth.

    Attributes:
        path: the file.
        levels: each level's pixels, (H, W, 3) uint8, stored without loss, halved each time.
        mpp: level-0 mpp.
        open: opens the file with the reader under test, given the mpp where the file has none.
    """

    path: Path
    levels: Sequence[np.ndarray]
    mpp: Mpp
    open: Callable[[], Slide]


def pattern(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture in which no two regions are alike: two ramps and noise, (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(seed).integers(0, 256, (height, width))
    return np.stack([x * 255 // width, y * 255 // height, noise], axis=2).astype(np.uint8)


def halved(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[0] // 2, image.shape[1] // 2
    even = image[: 2 * height, : 2 * width].astype(np.float64)
    quarters = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return np.floor(quarters / 4 + 0.5).astype(np.uint8)


def pyramid_of(image: np.ndarray, count: int) -> list[np.ndarray]:
    levels = [image]
    while len(levels) < count:
        levels.append(halved(levels[-1]))
    return levels


def dense_average(
    image: np.ndarray, x: float, y: float, ratio: tuple[float, float], width: int, height: int
) -> np.ndarray:
    """Average over area by the definition, as float64; outside the image is white."""

    def weights(start: float, step: float, count: int, length: int) -> np.ndarray:
        matrix = np.zeros((count, length + 1))  # the last column is the white outside
        for i in range(count):
            low, high = start + i * step, start + (i + 1) * step
            for k in range(max(0, math.floor(low)), min(length, math.ceil(high))):
                matrix[i, k] = max(0.0, min(k + 1, high) - max(k, low)) / step
            matrix[i, length] = 1 - matrix[i, :length].sum()
        return matrix

    padded = np.pad(image, ((0, 1), (0, 1), (0, 0)), constant_values=255).astype(np.float64)
    rows = weights(y, ratio[1], height, image.shape[0])
    cols = weights(x, ratio[0], width, image.shape[1])
    return np.einsum("ik,klc,jl->ijc", rows, padded, cols, optimize=True)


class SlideConformance:
    """Inherit, and define the fixture `case`."""

    @pytest.fixture
    def slide(self, case):
        with case.open() as slide:
            yield slide

    def test_sizes_and_levels(self, case, slide):
        assert slide.size_l0 == case.levels[0].shape[1::-1]
        assert [level.size for level in slide.levels] == [t.shape[1::-1] for t in case.levels]
        downs = [level.downsample for level in slide.levels]
        assert downs == [(2.0**i, 2.0**i) for i in range(len(case.levels))]

    def test_mpp(self, case, slide):
        assert slide.mpp == pytest.approx(case.mpp, rel=1e-6)

    def test_native_read_is_the_truth(self, case, slide):
        got = slide.read(Box(37, 21, 210, 150))
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, case.levels[0][21:171, 37:247])

    def test_whole_slide_is_the_truth(self, case, slide):
        got = slide.read(Box(0, 0, *slide.size_l0))
        np.testing.assert_array_equal(got, case.levels[0])

    def test_every_level_is_the_truth(self, case, slide):
        for index, truth in enumerate(case.levels):
            height, width = truth.shape[:2]
            got = slide.read_level(index, 3, 5, width - 4, height - 6)
            np.testing.assert_array_equal(got, truth[5:-1, 3:-1])

    def test_a_level_s_own_mpp_reads_that_level(self, case, slide):
        last = len(case.levels) - 1
        down = 2**last
        box = Box(8 * down, 4 * down, 40 * down, 30 * down)
        got = slide.read(box, Mpp(case.mpp.x * down * 1.015, case.mpp.y * down))
        np.testing.assert_array_equal(got, case.levels[last][4:34, 8:48])

    @pytest.mark.parametrize("scale", [(1.3, 1.3), (1.6, 1.9), (2.6, 2.6), (3.0, 5.0), (7.3, 7.3)])
    def test_coarser_read_is_the_area_average(self, case, slide, scale):
        wanted = Mpp(case.mpp.x * scale[0], case.mpp.y * scale[1])
        got = slide.read(Box(31.3, 17.8, 30 * scale[0], 20 * scale[1]), wanted)
        level = max(i for i in range(len(case.levels)) if 2**i <= min(scale))
        down = 2**level
        truth = dense_average(
            case.levels[level],
            31.3 / down,
            17.8 / down,
            (scale[0] / down, scale[1] / down),
            30,
            20,
        )
        assert got.shape == (20, 30, 3)
        assert np.abs(got - truth).max() <= 0.5 + 1e-3

    def test_past_the_edges_is_white(self, case, slide):
        height, width = case.levels[0].shape[:2]
        got = slide.read(Box(-5, -7, width + 11, height + 20))
        truth = np.full((height + 20, width + 11, 3), 255, np.uint8)
        truth[7 : 7 + height, 5 : 5 + width] = case.levels[0]
        np.testing.assert_array_equal(got, truth)

    def test_past_the_edges_is_white_when_averaged(self, case, slide):
        scale = 1.5
        got = slide.read(Box(-10, -4, 60, 45), Mpp(case.mpp.x * scale, case.mpp.y * scale))
        truth = dense_average(case.levels[0], -10, -4, (scale, scale), 40, 30)
        assert np.abs(got - truth).max() <= 0.5 + 1e-3

    def test_fractional_corner_goes_to_the_nearest_pixel(self, case, slide):
        for x, y, left, top in [(10.4, 20.5, 10, 21), (10.5, 20.49, 11, 20)]:
            got = slide.read(Box(x, y, 16, 8))
            np.testing.assert_array_equal(got, case.levels[0][top : top + 8, left : left + 16])

    @pytest.mark.parametrize("corner", [(-500, 0), (0, -500), (10**6, 10**6)])
    def test_wholly_outside_is_white(self, case, slide, corner):
        for mpp in (None, Mpp(case.mpp.x * 3.1, case.mpp.y * 3.1)):
            assert slide.read(Box(*corner, 62, 93), mpp).min() == 255

    def test_a_finer_mpp_is_refused(self, case, slide):
        with pytest.raises(SlideError, match=case.path.name):
            slide.read(Box(0, 0, 10, 10), Mpp(case.mpp.x * 0.9, case.mpp.y * 0.9))

    def test_opened_twice_gives_the_same(self, case, slide):
        with case.open() as again:
            box, mpp = Box(5.5, 3.2, 200, 170), Mpp(case.mpp.x * 1.7, case.mpp.y * 1.7)
            np.testing.assert_array_equal(slide.read(box, mpp), again.read(box, mpp))
            assert slide.properties == again.properties

    def test_pixels_belong_to_the_caller(self, slide):
        first = slide.read(Box(0, 0, 64, 64))
        first[:] = 0
        assert slide.read(Box(0, 0, 64, 64)).max() > 0

    def test_close_twice_and_read_after(self, case):
        slide = case.open()
        slide.close()
        slide.close()
        with pytest.raises(SlideError, match=case.path.name):
            slide.read(Box(0, 0, 8, 8))

    def test_properties_are_on_the_list(self, slide):
        for key, value in slide.properties.items():
            assert key in ALLOWED or key.startswith("level["), key
            assert isinstance(value, str)
            assert len(value) <= 32

    def test_fingerprint_follows_the_content(self, case, slide):
        before = slide.fingerprint()
        assert len(before) == 64
        assert before == slide.fingerprint()
        content = bytearray(case.path.read_bytes())
        content[-1] ^= 1
        case.path.write_bytes(content)
        assert slide.fingerprint() != before
