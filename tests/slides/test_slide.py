from __future__ import annotations

import math

import numpy as np
import pytest

from tests.conformance.slide_conformance import dense_average, pattern, pyramid_of
from wsikit.errors import MppError, SlideError
from wsikit.slides import slide as slide_module
from wsikit.slides.slide import DamagedSlideError, Slide, checked_mpp, level_downsample, pyramid
from wsikit.types import Box, Mpp, Size


class ArraySlide(Slide):
    """A slide in memory, which counts the pixels read at a time."""

    backend = "array"

    def __init__(self, path, levels, mpp):
        super().__init__(path, mpp)
        self._arrays = levels
        self.levels = pyramid([Size(*array.shape[1::-1]) for array in levels], path.name)
        self.metadata_mpp = (None, None)
        self.properties = {}
        self.largest = 0

    def read_level(self, level, x, y, width, height):
        rows, cols = self._arrays[level].shape[:2]
        assert 0 <= x < x + width <= cols
        assert 0 <= y < y + height <= rows
        self.largest = max(self.largest, width * height)
        return self._arrays[level][y : y + height, x : x + width].copy()

    def close(self):
        pass


@pytest.mark.parametrize(
    ("mpp", "problem"),
    [
        ((None, 0.5), "states no"),
        ((0.0, 0.0), "outside"),
        ((-0.5, -0.5), "outside"),
        ((math.nan, 0.5), "not finite"),
        ((math.inf, math.inf), "not finite"),
        ((0.049, 0.049), "outside"),
        ((51.0, 51.0), "outside"),
        ((0.5, 0.56), "more than 10 %"),
    ],
)
def test_an_mpp_that_cannot_be_believed(mpp, problem):
    with pytest.raises(MppError, match=rf"^a\.svs: .*{problem}.*--mpp.*'mpp' column"):
        checked_mpp(mpp, "a.svs")


@pytest.mark.parametrize("mpp", [(0.05, 0.05), (50.0, 50.0), (0.5, 0.549)])
def test_an_mpp_at_the_limits(mpp):
    assert checked_mpp(mpp, "a.svs") == mpp


def test_a_given_mpp_is_checked_too(tmp_path):
    with pytest.raises(MppError):
        _ = ArraySlide(tmp_path / "a.svs", [pattern(8, 8)], Mpp(0.5, 5.0)).mpp


@pytest.mark.parametrize("full", [(2220, 2967), (100_001, 74_999), (517, 1033)])
def test_downsamples_of_a_pyramid_that_drops_odd_pixels(full):
    size, exact = Size(*full), 1
    while min(size) > 1:
        size, exact = Size(size.width // 2, size.height // 2), exact * 2
        assert level_downsample(Size(*full), size) == (exact, exact)


def test_downsamples_of_other_pyramids():
    assert level_downsample(Size(3000, 2000), Size(1000, 667)) == (3, 3)
    assert level_downsample(Size(3000, 2000), Size(1200, 800)) == (2.5, 2.5)
    assert level_downsample(Size(3000, 2000), Size(1500, 1990)) == (2, 2000 / 1990)


@pytest.mark.parametrize("size", [(0, 5), (2**31, 4), (7, -1)])
def test_absurd_sizes(size):
    with pytest.raises(DamagedSlideError, match=r"^a\.svs: "):
        pyramid([Size(10, 10), Size(*size)], "a.svs")


def edge_at(profile: np.ndarray) -> float:
    """Where a step from white to black lies, in pixels, to a fraction: white area to its left."""
    return float(profile.astype(np.float64).sum() / 255)


@pytest.mark.parametrize(("own", "wanted"), [(0.25, 0.5), (0.3, 0.5), (0.499, 1.0)])
@pytest.mark.parametrize("count", [1, 3])
def test_a_ruler_keeps_its_place(tmp_path, own, wanted, count):
    """Steps at known level-0 places are found within a tenth of a pixel after resampling."""
    mpp = Mpp(own, own * 0.98)
    scale = (wanted / mpp.x, wanted / mpp.y)
    for x, y in [(400, 304), (1203, 517), (1801, 901)]:
        vertical = np.full((1003, 2005, 3), 255, np.uint8)
        vertical[:, x:] = 0
        horizontal = np.full((1003, 2005, 3), 255, np.uint8)
        horizontal[y:] = 0
        for image, axis, truth in [(vertical, 0, x), (horizontal, 1, y)]:
            slide = ArraySlide(tmp_path / "ruler", pyramid_of(image, count), mpp)
            box = Box(101.3, 57.8, 1850.0, 900.0)
            got = slide.read(box, Mpp(wanted, wanted))
            used = slide.scale_to(Mpp(wanted, wanted))
            assert used == pytest.approx(scale, rel=0.021)
            profile = got[..., 0].mean(axis=0 if axis == 0 else 1)
            found = box[axis] + edge_at(profile) * used[axis]
            resampled = used == pytest.approx(scale, rel=1e-9) and count == 1
            assert abs(found - truth) < (0.1 if resampled else 1.0)


def test_large_reads_go_block_by_block(tmp_path, monkeypatch):
    image = pattern(700, 900)
    slide = ArraySlide(tmp_path / "a", [image], Mpp(0.5, 0.5))
    for wanted in (Mpp(1.7, 1.3), Mpp(2.0, 1.5)):
        ratio = (wanted.x / 0.5, wanted.y / 0.5)
        box = Box(-20.5, -10, 940, 730)
        truth = dense_average(
            image, box.x, box.y, ratio, round(940 / ratio[0]), round(730 / ratio[1])
        )
        monkeypatch.setattr(slide_module, "READ_PX", 1 << 26)
        whole = slide.read(box, wanted)
        assert np.abs(whole - truth).max() <= 0.5 + 1e-3
        slide.largest = 0
        monkeypatch.setattr(slide_module, "READ_PX", 100 * 100)
        np.testing.assert_array_equal(slide.read(box, wanted), whole)
        assert 0 < slide.largest <= 103 * 103


def test_a_level_within_two_percent_is_used_as_it_is(tmp_path):
    levels = pyramid_of(pattern(400, 600), 2)
    slide = ArraySlide(tmp_path / "a", levels, Mpp(0.495, 0.505))
    np.testing.assert_array_equal(slide.read(Box(0, 0, 600, 400), Mpp(0.5, 0.5)), levels[0])
    np.testing.assert_array_equal(slide.read(Box(0, 0, 600, 400), Mpp(1.0, 1.0)), levels[1])


def test_one_axis_slightly_coarser_is_not_enlarged(tmp_path):
    """x is within 2 % of the wanted mpp, y is finer: x is used as it is, y averaged."""
    image = pattern(400, 600)
    slide = ArraySlide(tmp_path / "a", [image], Mpp(0.505, 0.47))
    assert slide.scale_to(Mpp(0.5, 0.5)) == (1.0, pytest.approx(0.5 / 0.47))
    assert slide.read(Box(0, 0, 600, 400), Mpp(0.5, 0.5)).shape == (376, 600, 3)
    with pytest.raises(SlideError, match=r"^a: .*coarser.*native"):
        slide.read(Box(0, 0, 10, 10), Mpp(0.48, 0.48))


def test_a_slide_like_a_thread_is_absurd():
    assert pyramid([Size(100, 100_000), Size(1, 781)], "a.svs")[1].size == (1, 781)
    with pytest.raises(DamagedSlideError, match=r"a\.svs: .*99 x 100000 px"):
        pyramid([Size(99, 100_000)], "a.svs")
