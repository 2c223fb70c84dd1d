from __future__ import annotations

import numpy as np
import pytest

from wsikit.reports.calibration import CalibrationBin
from wsikit.reports.plot import (
    MOST_POINTS,
    SIDE,
    Curve,
    calibration_plot,
    froc_plot,
    roc_plot,
)
from wsikit.reports.sections import FrocCurve
from wsikit.reports.text import Estimate


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
    (dot,) = calibration_plot([CalibrationBin(0.25, 0.5, 0.3, 0.7, 20, 9)], "share").dots
    assert (dot.x, dot.y) == pytest.approx((0.25 * SIDE, 0.5 * SIDE))
    assert dot.high < dot.y < dot.low  # y points down
    assert "20 slides of 9 patients" in dot.words


def test_a_froc_curve_is_steps_on_a_doubling_axis():
    """Found: half at no alarm, all at one a slide; the axis goes from 1/8 to 8 in six doublings."""
    read_off = {1.0: Estimate(1.0, 0.5, 1.0), 0.25: Estimate(0.5)}
    curve = FrocCurve(np.array([0, 0, 0.5, 1, 30]), np.array([0, 0.5, 0.5, 1, 1.0]), read_off, 2)
    plot = froc_plot(curve)
    drawn = points(plot.lines[0].points)
    assert drawn[:, 0].tolist() == sorted(drawn[:, 0])
    assert ((np.diff(drawn, axis=0) == 0).sum(axis=1) >= 1).all()  # along one axis at a time
    np.testing.assert_allclose(drawn[0], [0, SIDE])
    np.testing.assert_allclose(drawn[-1], [SIDE, 0])
    half = SIDE / 2
    assert [half, half] in drawn.tolist()
    assert [half, 0] in drawn.tolist()
    one, quarter = plot.dots
    assert (one.x, one.y, one.low) == pytest.approx((half, 0, half))
    assert (quarter.x, quarter.low, quarter.high) == pytest.approx((SIDE / 6, half, half), abs=0.1)
    assert [tick.words for tick in plot.x_ticks] == ["1/8", "1/4", "1/2", "1", "2", "4", "8"]
    assert not plot.diagonal
