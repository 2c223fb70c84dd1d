"""What UNM hides: evenly, as much as asked, each time elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from wsikit.encoders.umae.masks import MaskOptions, draw_masks


def draw(options: MaskOptions, side: int = 23, seed: int = 0):
    return draw_masks(options, side, 12, 4, np.random.default_rng(seed))


def test_one_of_every_four_patches_is_left_the_odd_row_and_column_included() -> None:
    masks = draw(MaskOptions())
    assert masks.kept.shape == (1, 4, 144)
    assert masks.noised.shape == (1, 4, 36)
    for kept in masks.kept[0].numpy():
        row, col = np.divmod(kept, 23)
        # In the order of the cells, so that the 144 are a map of 12 x 12.
        np.testing.assert_array_equal(row // 2 * 12 + col // 2, np.arange(144))


@pytest.mark.parametrize("side", [4, 5, 15, 23])
@pytest.mark.parametrize("omega", [0.1, 0.3, 0.5, 0.7, 0.75, 0.8, 0.9])
def test_other_shares_fill_a_map_and_stay_even(side: int, omega: float) -> None:
    options = MaskOptions(omega=omega)
    height, width = options.kept_shape(side)
    kept = draw(options, side).kept[0]
    assert kept.shape == (4, height * width)
    aim = (1 - omega) * 4 * width**2
    assert height * width == pytest.approx(min(aim, side**2), abs=width)
    for one in kept.numpy():
        assert len(set(one.tolist())) == height * width
        row, col = np.divmod(one, side)
        cells = row // 2 * width + col // 2
        assert (np.diff(cells) >= 0).all()
        whole = (side // 2) ** 2
        counts = np.bincount(cells, minlength=width**2).reshape(width, width)
        inner = counts[: side // 2, : side // 2]
        assert whole == inner.size
        assert inner.max() - inner.min() <= 1


def test_every_patch_of_a_whole_cell_is_as_likely() -> None:
    kept = np.concatenate([draw(MaskOptions(), 5, seed).kept.numpy() for seed in range(500)], 1)
    row, col = np.divmod(kept.reshape(-1), 5)
    inner = (row < 4) & (col < 4)
    counts = np.bincount(row[inner] * 4 + col[inner], minlength=16)
    assert counts.sum() == 4 * 500 * 4
    np.testing.assert_allclose(counts / counts.sum(), 1 / 16, atol=0.01)


def test_pictures_differ_and_a_seed_decides() -> None:
    first, again, other = (draw(MaskOptions(), seed=seed) for seed in (0, 0, 1))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (first.kept != other.kept).any()
    assert (first.kept[0, 0] != first.kept[0, 1]).any()
    assert (first.noised[0, 0] != first.noised[0, 1]).any()


def test_noise_is_of_the_spread_of_pixels() -> None:
    noise = draw(MaskOptions()).noise
    assert noise.shape == (1, 4, 36, 12)
    assert abs(noise.mean()) < 0.1
    assert abs(noise.std() - 1) < 0.1


def test_at_random_as_many_are_left_and_none_is_noise() -> None:
    masks = draw(MaskOptions(uniform=False))
    assert masks.kept.shape == (1, 4, 144)
    assert masks.noised.shape == (1, 4, 0)
    row, col = np.divmod(masks.kept[0, 0].numpy(), 23)
    assert np.bincount(row // 2 * 12 + col // 2).max() > 1
