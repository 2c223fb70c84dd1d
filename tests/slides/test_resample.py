from __future__ import annotations

import numpy as np
import pytest

from tests.conformance.slide_conformance import dense_average, pattern
from wsikit.slides import resample
from wsikit.slides.resample import area_average
from wsikit.types import Size


@pytest.mark.parametrize("origin", [(0.0, 0.0), (3.25, 1.7), (0.999, 5.0)])
@pytest.mark.parametrize("ratio", [(1.0, 1.5), (2.0, 2.0), (1.6667, 2.3), (9.4, 1.01)])
def test_it_is_the_dense_average(origin, ratio):
    image = pattern(90, 310)
    truth = dense_average(image, *origin, ratio, 30, 25)
    got = area_average(image, origin, ratio, Size(30, 25))
    assert got.shape == (25, 30, 3)
    assert np.abs(got - truth).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("rx", [1, 2, 3, 4, 6, 7, 10, 16, 31])
@pytest.mark.parametrize("ry", [2, 3, 6, 8])
def test_both_ways_round_alike(monkeypatch, rx, ry):
    """Even counts give halves: the integer and the float way must agree on every one."""
    image = pattern(24 * ry + 3, 37 * rx + 2)
    quick = area_average(image, (2, 3), (rx, ry), Size(37, 24))
    blocks = image[3:, 2:].astype(np.int64).reshape(24, ry, 37, rx, 3).sum((1, 3))
    np.testing.assert_array_equal(quick, (2 * blocks + rx * ry) // (2 * rx * ry))
    monkeypatch.setattr(resample, "_whole_window", lambda *_: None)
    np.testing.assert_array_equal(area_average(image, (2, 3), (rx, ry), Size(37, 24)), quick)


def test_extremes_do_not_wrap():
    for value in (0, 255):
        image = np.full((700, 650, 3), value, np.uint8)
        for ratio in (1.3, 255.0, 300.0):
            got = area_average(image, (0, 0), (ratio, ratio), Size(2, 2))
            assert (got == value).all()


@pytest.mark.parametrize(("origin", "ratio"), [((-0.1, 0), (2, 2)), ((0, 0), (0.9, 2))])
def test_it_never_leaves_its_source(origin, ratio):
    with pytest.raises(ValueError, match="never enlarges"):
        area_average(pattern(20, 20), origin, ratio, Size(4, 4))
