"""Shares of patches against counting the pixels of a magnified mask."""

from __future__ import annotations

import numpy as np
import pytest

from wsikit.geometry import PatchGrid
from wsikit.tissue.shares import foreground_shares
from wsikit.types import Size


def by_counting(mask, scale, grid):
    """Draw mask and patches on a lattice of quarter level-0 px, and count."""
    fine = 4
    rows = np.arange(grid.slide_px.height * fine) // round(scale[1] * fine)
    cols = np.arange(grid.slide_px.width * fine) // round(scale[0] * fine)
    side = (
        round(grid.patch_px * grid.scale[1] * fine),
        round(grid.patch_px * grid.scale[0] * fine),
    )
    lattice = np.zeros((grid.rows * side[0], grid.cols * side[1]), bool)
    inside = np.ix_(rows < mask.shape[0], cols < mask.shape[1])
    shown = np.zeros((len(rows), len(cols)), bool)
    shown[inside] = mask[np.ix_(rows[rows < mask.shape[0]], cols[cols < mask.shape[1]])]
    high, wide = min(len(rows), lattice.shape[0]), min(len(cols), lattice.shape[1])
    lattice[:high, :wide] = shown[:high, :wide]
    return lattice.reshape(grid.rows, side[0], grid.cols, side[1]).mean((1, 3))


@pytest.mark.parametrize("mask_scale", [(16.0, 12.25), (5.5, 8.0), (1.0, 1.0)])
@pytest.mark.parametrize("grid_scale", [(1.0, 1.0), (1.75, 2.25)])
@pytest.mark.parametrize("shape", [(20, 30), (9, 12), (60, 40)])
def test_shares_are_exact_by_area(mask_scale, grid_scale, shape):
    mask = np.random.default_rng(3).random(shape) < 0.5
    grid = PatchGrid(Size(203, 151), grid_scale, 24)
    shares = foreground_shares(mask, mask_scale, grid)
    assert shares.shape == (grid.rows, grid.cols)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares, by_counting(mask, mask_scale, grid), atol=1e-6)


def test_what_lies_outside_the_slide_is_background():
    grid = PatchGrid(Size(100, 50), (1.0, 1.0), 64)
    shares = foreground_shares(np.ones((10, 20), bool), (10.0, 10.0), grid)
    np.testing.assert_allclose(shares, [[50 / 64, 36 * 50 / 64**2]], atol=1e-6)


def test_patches_smaller_than_a_mask_pixel():
    mask = np.array([[True, False]])
    shares = foreground_shares(mask, (64.0, 64.0), PatchGrid(Size(128, 64), (1.0, 1.0), 16))
    assert shares.shape == (4, 8)
    assert (shares[:, :4] == 1).all()
    assert (shares[:, 4:] == 0).all()


def test_a_large_mask_loses_no_precision():
    mask = np.ones((3000, 3000), bool)
    shares = foreground_shares(mask, (16.0, 16.0), PatchGrid(Size(48_000, 48_000), (1.0, 1.0), 512))
    assert (shares[:-1, :-1] == 1).all()
