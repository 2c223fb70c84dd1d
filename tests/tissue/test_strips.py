"""Rules applied strip by strip: the same pixels as all at once."""

from __future__ import annotations

import numpy as np
import pytest

from wsikit.tissue.strips import ROWS, mask_by_strips


def spread_out(density):
    return density.max(axis=0) - density.min(axis=0) > 0.5


@pytest.mark.parametrize("height", [1, ROWS - 1, ROWS, 3 * ROWS + 5])
def test_strips_give_what_the_whole_gives(height):
    density = np.random.default_rng(height).random((3, height, 7), np.float32)
    mask = mask_by_strips(spread_out, density)
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, spread_out(density))


def test_no_strip_is_larger_than_said():
    seen = []

    def rule(density):
        seen.append(density.shape[1])
        return spread_out(density)

    mask_by_strips(rule, np.zeros((3, 2 * ROWS + 1, 4), np.float32))
    assert seen == [ROWS, ROWS, 1]
