"""Entropy against scikit-image's and against values known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import shannon_entropy

from wsikit.tissue.entropy import channel_entropy


def test_it_is_the_sum_of_three_shannon_entropies() -> None:
    image = np.random.default_rng(1).integers(0, 256, (64, 48, 3), dtype=np.uint8) ** 2
    wanted = sum(shannon_entropy(image[..., c]) for c in range(3))
    assert channel_entropy(image) == pytest.approx(wanted, abs=1e-9)


def test_known_values() -> None:
    assert channel_entropy(np.full((8, 8, 3), 255, np.uint8)) == 0
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert channel_entropy(np.stack([every] * 3, axis=-1)) == pytest.approx(24)
    half = np.zeros((4, 4, 3), np.uint8)
    half[:2] = 9
    assert channel_entropy(half) == pytest.approx(3)
