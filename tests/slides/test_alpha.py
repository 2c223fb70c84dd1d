from __future__ import annotations

import numpy as np
import pytest

from wsikit.slides.alpha import onto_white


@pytest.mark.parametrize("premultiplied", [False, True])
@pytest.mark.parametrize("alphas", [[0, 255], [0], [255], [0, 1, 128, 254, 255]])
def test_against_the_formula(alphas, premultiplied):
    rng = np.random.default_rng(0)
    alpha = rng.choice(np.array(alphas, np.uint8), (40, 30))
    colour = rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    share = alpha[..., None] / 255
    if premultiplied:
        colour = (colour * share).astype(np.uint8)
    truth = (colour if premultiplied else colour * share) + 255 * (1 - share)
    got = onto_white(colour, alpha, premultiplied=premultiplied)
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous
    assert np.abs(got - truth).max() <= 0.51


def test_a_view_is_not_written_to():
    colour = np.full((4, 6, 3), 7, np.uint8)
    onto_white(colour[:, ::2], np.zeros((4, 3), np.uint8))
    assert (colour == 7).all()
