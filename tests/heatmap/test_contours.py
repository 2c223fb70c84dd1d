"""Merged areas beside what shapely makes of the same squares."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from shapely.geometry import Polygon

from wsikit.geometry import PatchGrid
from wsikit.heatmap import contours
from wsikit.heatmap.contours import ConnectedArea, PatchRaster
from wsikit.types import Size

SIDE = Size(30, 22)


def squares(xy: np.ndarray, side: Size = SIDE) -> np.ndarray:
    return shapely.box(xy[:, 0], xy[:, 1], xy[:, 0] + side.width, xy[:, 1] + side.height)


def polygon(area: ConnectedArea) -> Polygon:
    return Polygon(area.rings[0], area.rings[1:])


def lattice(cols: int, rows: int, step: tuple[int, int]) -> np.ndarray:
    cells = np.stack(np.meshgrid(np.arange(cols), np.arange(rows)), axis=-1).reshape(-1, 2)
    return cells * step + (5, 9)


def compare(xy: np.ndarray, chosen: np.ndarray) -> list[ConnectedArea]:
    """Hold the areas against shapely's union, and return them."""
    areas = list(PatchRaster(xy, SIDE).areas(chosen))
    polygons = [polygon(area) for area in areas]
    union = shapely.union_all(squares(xy[chosen]))
    assert all(p.is_valid for p in polygons)
    assert len(areas) == len(shapely.get_parts(union))
    assert shapely.equals(shapely.union_all(polygons), union)
    assert sum(area.area for area in areas) == union.area
    members = [index for area in areas for index in area.patches.tolist()]
    assert sorted(members) == np.flatnonzero(chosen).tolist()
    for area, shape in zip(areas, polygons, strict=True):
        assert shapely.equals(shapely.union_all(squares(xy[area.patches])), shape)
        assert shapely.is_ccw(shape.exterior)
        assert not any(shapely.is_ccw(hole) for hole in shape.interiors)
        assert all((ring[0] == ring[-1]).all() for ring in area.rings)
    return areas


@pytest.mark.parametrize("step", [(30, 22), (8, 9), (40, 22)])
@pytest.mark.parametrize("raster", [True, False])
def test_areas_are_the_union_of_their_squares(
    step: tuple[int, int], raster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Side by side, overlapping, and apart along x; as a raster, and strewn without one."""
    if not raster:
        monkeypatch.setattr(contours, "MOST_CELLS", 0)
    rng = np.random.default_rng(0)
    for _ in range(40):
        xy = lattice(*rng.integers(1, 12, 2), step)
        compare(xy, rng.random(len(xy)) < rng.random())


def test_patches_on_no_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    xy = np.random.default_rng(1).integers(0, 400, (60, 2))
    monkeypatch.setattr(contours, "SNAP", 0)
    compare(xy, np.ones(60, np.bool_))


def chosen_cells(*rows: str) -> tuple[np.ndarray, np.ndarray]:
    xy = lattice(len(rows[0]), len(rows), SIDE)
    return xy, np.array([cell == "#" for row in rows for cell in row])


def test_a_hole_and_what_lies_in_it() -> None:
    areas = compare(*chosen_cells("#####", "#...#", "#.#.#", "#...#", "#####"))
    assert sorted(len(area.rings) for area in areas) == [1, 2]
    outer = next(area for area in areas if len(area.rings) == 2)
    assert [len(ring) for ring in outer.rings] == [5, 5]  # corners only
    assert outer.area == 16 * SIDE.width * SIDE.height


def test_patches_that_meet_at_a_corner_are_apart() -> None:
    assert len(compare(*chosen_cells("#.", ".#"))) == 2


def test_holes_that_meet_at_a_corner_and_a_ring_closed_by_one() -> None:
    (two_holes,) = compare(*chosen_cells("####", "#.##", "##.#", "####"))
    assert len(two_holes.rings) == 3
    # The ends of the C meet at a corner: its inside is a hole that touches the outline.
    (ring,) = compare(*chosen_cells("###", "#.#", "##."))
    assert len(ring.rings) == 2


def test_rounded_neighbours_are_joined_without_a_gap() -> None:
    """The side of 512 store px at 1.003 is 514 px, but corners lie 513 or 514 px apart."""
    for scale in (1.0029, 1.0031, 0.4997):
        grid = PatchGrid(Size(40_000, 3_000), (scale, scale), 512)
        xy = np.array([grid.origin_l0(1, col) for col in range(70)])
        (area,) = PatchRaster(xy, Size(*grid.side_l0())).areas(np.ones(70, np.bool_))
        assert len(area.rings[0]) == 5
        assert set(area.rings[0][:, 0].tolist()) == {
            0, int(xy[-1, 0]) + grid.side_l0()[0]
        }  # fmt: skip


def test_nothing_chosen_and_no_patches() -> None:
    assert compare(*chosen_cells("..", "..")) == []
    assert list(PatchRaster(np.zeros((0, 2), np.int32), SIDE).areas(np.zeros(0, np.bool_))) == []
