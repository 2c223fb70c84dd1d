from __future__ import annotations

import numpy as np
import pytest

from wsikit.training.patches.turns import TURNS, turned


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)


def test_eight_different_pictures_of_the_same_pixels(pixels) -> None:
    ways = [turned(pixels, turn) for turn in range(TURNS)]
    assert len({way.tobytes() for way in ways}) == TURNS
    for way in ways:
        assert way.dtype == np.uint8
        assert way.shape == pixels.shape
        colours = way.reshape(-1, 3), pixels.reshape(-1, 3)
        one, other = (
            np.sort(c.view("u1,u1,u1").ravel()) for c in map(np.ascontiguousarray, colours)
        )
        np.testing.assert_array_equal(one, other)


def test_against_transposing_by_hand(pixels) -> None:
    np.testing.assert_array_equal(turned(pixels, 0), pixels)
    np.testing.assert_array_equal(turned(pixels, 1), pixels.transpose(1, 0, 2)[::-1])
    np.testing.assert_array_equal(turned(pixels, 2), pixels[::-1, ::-1])
    np.testing.assert_array_equal(turned(pixels, 3), pixels.transpose(1, 0, 2)[:, ::-1])
    np.testing.assert_array_equal(turned(pixels, 4), pixels[:, ::-1])
    np.testing.assert_array_equal(turned(pixels, 6), pixels[::-1])


@pytest.mark.parametrize("turn", range(TURNS))
def test_each_can_be_undone_to_the_byte(pixels, turn: int) -> None:
    back = turned(pixels, turn)
    if turn >= 4:
        back = back[:, ::-1]
    np.testing.assert_array_equal(np.rot90(back, -(turn % 4)), pixels)
