"""Shares of patches inside drawn areas, against one GEOS intersection a patch."""

from __future__ import annotations

import time

import numpy as np
import pytest
import shapely

from wsikit.geometry import PatchGrid
from wsikit.tissue import region_shares as module
from wsikit.tissue.region_shares import region_shares
from wsikit.types import Size

GRID = PatchGrid(Size(3000, 2111), (1.37, 1.91), 64)  # both edges overhang the slide


def blob(rng: np.random.Generator, x: float, y: float, radius: float, points: int = 60):
    """A wavy outline that does not cross itself."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    waves = 1 + 0.3 * np.sin(3 * angle + rng.uniform(0, 6)) + 0.1 * np.sin(11 * angle)
    around = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (radius * waves)[:, None]
    return shapely.Polygon(around + np.array([x, y]))


def one_by_one(areas: list, grid: PatchGrid) -> np.ndarray:
    slide = shapely.box(0, 0, *grid.slide_px)
    region = shapely.union_all(areas)
    shares = np.zeros((grid.rows, grid.cols))
    for row, col in np.ndindex(shares.shape):
        side = grid.patch_px
        x, y, width, height = grid.region_l0(col * side, row * side, side, side)
        square = shapely.box(x, y, x + width, y + height).intersection(slide)
        shares[row, col] = square.intersection(region).area / square.area
    return shares


@pytest.mark.parametrize("seed", range(4))
def test_shares_are_those_of_one_intersection_a_patch(seed: int) -> None:
    """Overlapping areas, holes, and outlines that leave the slide."""
    rng = np.random.default_rng(seed)
    places = rng.uniform((-200, -200, 15), (3200, 2300, 500), (14, 3))
    areas = [blob(rng, *place) for place in places]
    areas[0] = areas[0].difference(blob(rng, places[0, 0], places[0, 1], places[0, 2] / 3))
    shares = region_shares(areas, GRID)
    assert 0.05 < shares.mean() < 0.95
    np.testing.assert_allclose(shares, one_by_one(areas, GRID), atol=1e-10)


def test_the_shares_add_up_to_the_region() -> None:
    rng = np.random.default_rng(9)
    grid = PatchGrid(Size(1024, 2048), (1.0, 2.0), 32)  # nothing overhangs
    areas = [blob(rng, *rng.uniform((0, 0, 5), (1024, 2048, 90))) for _ in range(40)]
    region = shapely.union_all(areas).intersection(shapely.box(0, 0, 1024, 2048))
    total = region_shares(areas, grid).sum() * 32 * 64
    assert total == pytest.approx(region.area, rel=1e-10)


def test_an_area_over_the_whole_slide_is_whole_in_patches_that_overhang() -> None:
    everything = shapely.box(-1e5, -1e5, 1e5, 1e5)
    np.testing.assert_allclose(region_shares([everything], GRID), 1, atol=1e-12)
    slide = shapely.box(0, 0, *GRID.slide_px)
    np.testing.assert_allclose(region_shares([slide], GRID), 1, atol=1e-12)


def test_squares_on_the_grid_fill_their_patches_and_no_other() -> None:
    side_x, side_y = 64 * 1.37, 64 * 1.91
    square = shapely.box(5 * side_x, 7 * side_y, 8 * side_x, 9 * side_y)
    wanted = np.zeros((GRID.rows, GRID.cols))
    wanted[7:9, 5:8] = 1
    np.testing.assert_allclose(region_shares([square, square], GRID), wanted, atol=1e-12)


@pytest.mark.parametrize(
    "area", [shapely.Polygon(), shapely.Point(3, 3), shapely.box(-9, -9, 0, 0)]
)
def test_what_covers_nothing_has_no_share(area) -> None:
    assert not region_shares([area], GRID).any()
    assert not region_shares([], GRID).any()


def test_the_way_round_does_not_matter() -> None:
    ring = [(100, 100), (900, 200), (500, 1500)]
    shares = region_shares([shapely.Polygon(ring)], GRID)
    np.testing.assert_array_equal(region_shares([shapely.Polygon(ring[::-1])], GRID), shares)


def test_a_slide_smaller_than_a_patch_has_one_share() -> None:
    grid = PatchGrid(Size(30, 20), (1.0, 1.0), 512)
    assert region_shares([shapely.box(0, 0, 15, 20)], grid) == pytest.approx(np.array([[0.5]]))


def test_working_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    areas = [blob(rng, 1500, 1000, 700, 400)]
    whole = region_shares(areas, GRID)
    monkeypatch.setattr(module, "PIECES_AT_A_TIME", 50)
    np.testing.assert_allclose(region_shares(areas, GRID), whole, atol=1e-12)


def test_a_thousand_areas_over_forty_thousand_patches_take_under_two_seconds() -> None:
    rng = np.random.default_rng(0)
    grid = PatchGrid(Size(102400, 102400), (1.0, 1.0), 512)
    places = rng.uniform((0, 0, 200), (102400, 102400, 1500), (1000, 3))
    areas = [blob(rng, *place, points=200) for place in places]
    start = time.process_time()
    shares = region_shares(areas, grid)
    assert time.process_time() - start < 2
    assert shares.shape == (200, 200)
