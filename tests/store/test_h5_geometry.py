"""Where patches lie: three tools' attributes, and the cell of the grid a patch falls into."""

from __future__ import annotations

import numpy as np
import pytest

from tests.store.h5_files import grid_coords
from wsikit.errors import SlideError
from wsikit.geometry import PatchGrid
from wsikit.store.h5_geometry import (
    cells,
    check_corners,
    level_of_scale,
    reach,
    stated_geometry,
)
from wsikit.store.h5_layout import H5Facts, OwnFacts
from wsikit.types import Mpp, Size


def trident(**more: float | None) -> H5Facts:
    known = {
        "patch_size": 256.0,
        "patch_size_level0": 512.0,
        "level0_magnification": 40.0,
        "target_magnification": 20.0,
    }
    return H5Facts(**(known | more))  # type: ignore[arg-type]


def test_trident_takes_the_ratio_of_magnifications_and_no_resolution() -> None:
    geometry = stated_geometry(trident(level0_width=9000.0, level0_height=8000.0), "a")
    assert geometry.patch_px == 256
    assert geometry.scale == (2.0, 2.0)
    assert geometry.size_l0 == (9000, 8000)
    assert geometry.mpp_l0 is None


def test_trident_rounds_a_side_whose_attribute_it_cuts() -> None:
    """256 px at 15x of 40x are 682.67 level-0 px: TRIDENT steps by 683 and writes 682."""
    facts = trident(patch_size_level0=256 * 40 // 15, target_magnification=15.0)
    assert stated_geometry(facts, "a").scale[0] * 256 == 683


def test_trident_without_magnifications() -> None:
    facts = trident(level0_magnification=None, target_magnification=None)
    assert stated_geometry(facts, "a").scale == (2.0, 2.0)
    facts = H5Facts(patch_size_level0=448.0)
    assert stated_geometry(facts, "a").patch_px == 448


def test_clam_counts_pixels_of_a_level() -> None:
    facts = H5Facts(
        patch_size=256, patch_level=1, downsample=(4.0001, 4.0), level_dim=(2250.0, 2000.0)
    )
    geometry = stated_geometry(facts, "a")
    assert geometry.scale == (4.0001, 4.0)
    assert geometry.size_l0 is None  # the level's size times 4.0001 is not the slide's
    assert geometry.level == 1
    facts = H5Facts(patch_size=256, patch_level=0, level_dim=(9000.0, 8000.0))
    assert stated_geometry(facts, "a").size_l0 == (9000, 8000)


def test_wsikit_states_all_of_it() -> None:
    own = OwnFacts("enc", 512, (2.0, 2.04), Size(900, 800), Mpp(0.25, 0.245), "r")
    geometry = stated_geometry(trident() and H5Facts(patch_size=99, own=own), "a")
    assert geometry.patch_px == 512
    assert geometry.scale == (2.0, 2.04)
    assert geometry.mpp_l0 == (0.25, 0.245)


def test_what_the_user_says_counts_where_the_file_is_silent() -> None:
    assert stated_geometry(H5Facts(), "a", 512).scale == (1.0, 1.0)
    assert stated_geometry(trident(), "a", 512).patch_px == 256


@pytest.mark.parametrize(
    ("facts", "side", "said"),
    [
        (H5Facts(), None, "does not say how large its patches are: give --coords"),
        (H5Facts(patch_size=256), None, "does not say how large its patches are"),
        (trident(), 500, "512 level-0 px, not 500"),
        (trident(patch_size_level0=1024.0), None, "make it 512"),
        (trident(patch_size=0.0, patch_size_level0=None), None, "missing or zero"),
        (trident(patch_size=1e9, patch_size_level0=None), None, "not believed"),
        (trident(target_magnification=1e-9), None, "make it"),
        (trident(patch_size=1e300, level0_magnification=1e300), None, "make it inf: extract"),
        (
            trident(patch_size=1e300, level0_magnification=1e300, patch_size_level0=None),
            None,
            r"not believed",
        ),
        (
            trident(level0_width=1e300, level0_height=8.0),
            None,
            r"in a slide of 1e\+300 x 8 px, which is not believed",
        ),
        (trident(level0_width=-5.0, level0_height=8.0), None, "not believed"),
        (H5Facts(patch_size=256, patch_level=1), None, "downsample is not stated"),
        (H5Facts(patch_size=256.5, patch_level=0), None, "no whole number"),
        (H5Facts(patch_size=256, patch_level=0, custom_downsample=2), None, "custom_downsample"),
        (H5Facts(patch_size=256, patch_level=1, downsample=(1e9, 1e9)), None, "not believed"),
    ],
)
def test_what_cannot_be_understood(facts: H5Facts, side: int | None, said: str) -> None:
    with pytest.raises(SlideError, match=f"^a.h5: .*{said}"):
        stated_geometry(facts, "a.h5", side)


@pytest.mark.parametrize("scale", [(1.0, 1.0), (2.0, 2.0), (1.37, 1.41), (2.6667, 0.73)])
def test_a_patch_on_the_grid_gets_its_own_place_back(scale: tuple[float, float]) -> None:
    grid = PatchGrid(Size(90_000, 70_000), scale, 256)
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, grid.rows, 500), rng.integers(0, grid.cols, 500)
    xy = [grid.origin_l0(int(r), int(c)) for r, c in zip(rows, cols, strict=True)]
    found = cells(np.array(xy, np.int64), grid)
    np.testing.assert_array_equal(found, np.stack([rows, cols], axis=1))


def test_patches_that_do_not_overlap_never_share_a_cell() -> None:
    """Rasters of their own, as CLAM lays one over each contour."""
    side = 512
    grid = PatchGrid(Size(20_000, 9000), (2.0, 2.0), 256)
    rng = np.random.default_rng(0)
    for _ in range(20):
        left = grid_coords(7, 9, side, tuple(rng.integers(0, 600, 2)))  # type: ignore[arg-type]
        offset = rng.integers(0, 600, 2) + np.array([left[:, 0].max() + side, 0])
        right = grid_coords(20, 9, side, tuple(offset))
        both = np.concatenate([left, right])
        both = both[(both < grid.slide_px).all(axis=1)]
        found = cells(both, grid)
        assert len(np.unique(found, axis=0)) == len(both)
        assert (found < (grid.rows, grid.cols)).all()


def test_corners_are_inside_and_stand_once() -> None:
    grid = PatchGrid(Size(2000, 1500), (2.0, 2.0), 256)
    coords = grid_coords(4, 3, 512)
    check_corners(coords, grid, "a.h5")
    assert reach(coords, stated_geometry(trident(), "a")) == (2048, 1536)
    with pytest.raises(SlideError, match=r"1 patches stand in it more than once .x 0, y 512"):
        check_corners(np.concatenate([coords, coords[1:2]]), grid, "a.h5")
    with pytest.raises(SlideError, match=r"3 patches begin outside the slide .x 1536, y 0"):
        check_corners(coords, PatchGrid(Size(1536, 1500), (2.0, 2.0), 256), "a.h5")
    with pytest.raises(SlideError, match="not believed"):
        check_corners(coords, PatchGrid(Size(2**31 - 1, 2**31 - 1), (1.0, 1.0), 1), "a.h5")


def test_the_level_that_patches_were_read_at() -> None:
    assert level_of_scale((1.0, 1.0), {}) == 0
    assert level_of_scale((4.0, 4.0), {0: 1.0, 1: 4.0}) == 1
    assert level_of_scale((2.0, 2.0), {0: 1.0, 1: 4.0}) is None
    assert level_of_scale((4.0, 4.1), {1: 4.0}) is None
