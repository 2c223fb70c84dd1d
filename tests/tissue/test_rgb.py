"""The RGB filter against the patent's words, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from wsikit.tissue.rgb import bright, rgb_foreground


def by_the_words(background: np.ndarray, window: int) -> np.ndarray:
    """Slow and literal: a pixel is foreground unless bright or 90 % of its window is background."""
    height, width = background.shape
    out = np.zeros_like(background)
    for y in range(height):
        for x in range(width):
            count = 0
            for dy in range(-(window // 2), window - window // 2):
                for dx in range(-(window // 2), window - window // 2):
                    inside = 0 <= y + dy < height and 0 <= x + dx < width
                    count += not inside or bool(background[y + dy, x + dx])
            out[y, x] = not background[y, x] and count < 0.9 * window * window
    return out


@pytest.mark.parametrize("window", [1, 2, 5, 10])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 1.0])
def test_the_neighbourhood_rule_is_the_patents(window: int, share: float) -> None:
    background = np.random.default_rng(7).random((23, 31)) < share
    np.testing.assert_array_equal(
        rgb_foreground(background, window), by_the_words(background, window)
    )


def test_a_window_at_exactly_ninety_percent_is_background() -> None:
    background = np.ones((10, 10), bool)
    background[4, :] = False  # 10 of 100 pixels are tissue: 90 % background around the centre
    assert not rgb_foreground(background, 10)[4, 5]
    background[3, 5] = False
    assert rgb_foreground(background, 10)[4, 5]


def test_channel_rules() -> None:
    pixels = np.array([[[201, 0, 0], [200, 200, 200], [201, 201, 201], [255, 201, 200]]], np.uint8)
    assert bright(pixels, rule="any").tolist() == [[True, False, True, True]]
    assert bright(pixels, rule="all").tolist() == [[False, False, True, False]]


def test_any_drops_at_least_what_all_drops() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    assert not (bright(pixels, rule="all") & ~bright(pixels, rule="any")).any()
