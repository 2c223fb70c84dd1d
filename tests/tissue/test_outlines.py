from __future__ import annotations

import numpy as np
import pytest
import shapely

from wsikit.tissue.outlines import check_tangle, clean_area


def ring(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, np.float64).reshape(-1, 2)


SQUARE = ring((0, 0), (10, 0), (10, 10), (0, 10))


def test_a_plain_outline_stays_as_it_is() -> None:
    area = clean_area([SQUARE])
    assert area.equals(shapely.box(0, 0, 10, 10))


def test_a_hole_is_left_out() -> None:
    assert clean_area([SQUARE, ring((2, 2), (4, 2), (4, 5), (2, 5))]).area == 94


@pytest.mark.parametrize(
    ("outline", "area"),
    [
        (ring((0, 0), (10, 10), (10, 0), (0, 10)), 50),  # a bow tie
        # A bar that the line runs into again: gone around twice is still inside.
        (ring((0, 0), (10, 0), (10, 10), (4, 10), (4, -4), (6, -4), (6, 12), (0, 12)), 120),
        (ring((0, 0), (10, 0), (10, 10), (0, 10), (0, 0), (0, 10)), 100),  # doubled back
    ],
)
def test_a_line_that_crosses_itself_encloses_all_it_goes_around(outline, area) -> None:
    found = clean_area([outline])
    assert found.is_valid
    assert found.area == pytest.approx(area)


@pytest.mark.parametrize(
    "rings",
    [
        [],
        [np.zeros((0, 2))],
        [ring((1, 1))],
        [ring((1, 1), (2, 2), (1, 1))],
        [ring((1, 1), (1, 1), (1, 1), (1, 1))],
        [ring((0, 0), (5, 5), (9, 9), (0, 0))],
        [np.zeros((0, 2)), SQUARE],
    ],
)
def test_a_line_around_nothing_is_empty(rings) -> None:
    assert clean_area(rings).is_empty or clean_area(rings).area == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e12])
def test_a_coordinate_that_is_none_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="no number"):
        clean_area([ring((0, 0), (10, bad), (10, 10))])


def test_a_tangle_is_refused_before_it_costs_minutes() -> None:
    scribble = np.random.default_rng(0).uniform(0, 1e4, (3000, 2))
    with pytest.raises(ValueError, match="too often"):
        clean_area([scribble])


def test_many_long_and_touching_outlines_are_no_tangle() -> None:
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    check_tangle([shapely.Polygon(circle * 90 + (i % 30 * 100, i // 30 * 100)) for i in range(600)])
    check_tangle([])
