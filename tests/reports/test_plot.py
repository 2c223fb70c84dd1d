from __future__ import annotations

import numpy as np
import pytest

from wsikit.reports.calibration import CalibrationBin
from wsikit.reports.plot import MOST_POINTS, SIDE, Curve, calibration_plot, roc_plot


def points(text: str) -> np.ndarray:
    return np.array([pair.split(",") for pair in text.split()], float)


def test_a_curve_goes_up_the_page():
    plot = roc_plot([Curve("a", np.array([0, 0.25, 1]), np.array([0, 1, 1]), "0.9", False)])
    expected = [[0, SIDE], [0.25 * SIDE, 0], [SIDE, 0]]
    np.testing.assert_allclose(points(plot.lines[0].points), expected)


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    x = np.linspace(0, 1, 5000)
    (line,) = roc_plot([Curve("a", x, x**0.5, "", True)]).lines
    drawn = points(line.points)
    assert len(drawn) <= MOST_POINTS
    np.testing.assert_allclose(drawn[[0, -1]], [[0, SIDE], [SIDE, 0]])
    # Every drawn point lies on the curve, to the rounding of a tenth.
    np.testing.assert_allclose(1 - drawn[:, 1] / SIDE, np.sqrt(drawn[:, 0] / SIDE), atol=0.02)


def test_folds_differ_by_dash_and_the_pooled_curve_is_solid():
    square = np.array([0.0, 1.0])
    curves = [Curve(f"fold {i}", square, square, "", False) for i in range(3)]
    lines = roc_plot([*curves, Curve("pooled", square, square, "", True)]).lines
    assert len({line.dash for line in lines}) == 4
    assert lines[-1].dash == ""


def test_calibration_dots_lie_within_their_whiskers():
    (dot,) = calibration_plot([CalibrationBin(0.25, 0.5, 0.3, 0.7, 20)]).dots
    assert (dot.x, dot.y) == pytest.approx((0.25 * SIDE, 0.5 * SIDE))
    assert dot.high < dot.y < dot.low  # y points down
    assert "20 slides" in dot.words
