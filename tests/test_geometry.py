"""The patch grid against plain arithmetic with fractions."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest

from wsikit.geometry import PatchGrid, round_half_up, same_mpp
from wsikit.types import Mpp, Size


@pytest.mark.parametrize(
    "scale", [(1.0, 1.0), (2.0, 2.0), (0.5 / 0.3, 0.5 / 0.29), (1.428571, 1.3)]
)
@pytest.mark.parametrize("size", [Size(1000, 777), Size(513, 4097), Size(1, 1)])
def test_patches_cover_the_slide_once(scale: tuple[float, float], size: Size) -> None:
    grid = PatchGrid(size, scale, 64)
    xs = [grid.origin_l0(0, col)[0] for col in range(grid.cols + 1)]
    ys = [grid.origin_l0(row, 0)[1] for row in range(grid.rows + 1)]
    assert xs[0] == ys[0] == 0
    assert xs[-2] < size.width <= xs[-1]
    assert ys[-2] < size.height <= ys[-1]
    assert all(a < b for a, b in pairwise(xs))


def test_origin_is_the_exact_corner_rounded() -> None:
    grid = PatchGrid(Size(100_000, 90_000), (0.5 / 0.3, 0.5 / 0.35), 512)
    for row, col in [(0, 0), (7, 3), (101, 97)]:
        exact_x = Fraction(col * 512) * Fraction(0.5 / 0.3)
        exact_y = Fraction(row * 512) * Fraction(0.5 / 0.35)
        x, y = grid.origin_l0(row, col)
        assert abs(x - exact_x) <= Fraction(1, 2)
        assert abs(y - exact_y) <= Fraction(1, 2)


def test_halves_round_up_on_both_sides_of_an_even_number() -> None:
    assert [round_half_up(v) for v in (0.5, 1.5, 2.5, 2.49)] == [1, 2, 3, 2]


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [(0.499, 0.5, True), (0.49, 0.5, True), (0.489, 0.5, False), (0.35, 0.5, False)],
)
def test_two_percent_is_the_same(a: float, b: float, same: bool) -> None:
    assert same_mpp(Mpp(a, a), Mpp(b, b)) is same


def test_one_axis_off_is_not_the_same() -> None:
    assert not same_mpp(Mpp(0.5, 0.53), Mpp(0.5, 0.5))
