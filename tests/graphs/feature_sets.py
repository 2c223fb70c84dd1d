"""Features made for the tests, and neighbours by brute force."""

from __future__ import annotations

import numpy as np


def encoder_like(count: int, width: int = 512, seed: int = 0) -> np.ndarray:
    """Return features as an encoder's: unequal groups on a curved sheet of few dimensions.

    Their nearest neighbours are harder to find than those of an untrained ResNet18's features of
    real H&E patches.
    """
    rng = np.random.default_rng(seed)
    tissues = rng.normal(size=(20, 24))[rng.choice(20, count, p=rng.dirichlet(np.full(20, 2.0)))]
    inner = np.maximum(
        (tissues + 0.5 * rng.normal(size=(count, 24))) @ rng.normal(size=(24, 256)), 0
    )
    return np.maximum(inner @ rng.normal(size=(256, width)) / 80, 0).astype(np.float32)


def nearest_by_brute_force(features: np.ndarray, k: int) -> np.ndarray:
    """Return the k nearest others, (N, k); of equal distances the lower number first."""
    wide = features.astype(np.float64)
    nearest = np.empty((len(wide), k), np.int64)
    for number, one in enumerate(wide):
        distance = np.sqrt(((wide - one) ** 2).sum(1))
        distance[number] = np.inf
        nearest[number] = np.argsort(distance, kind="stable")[:k]
    return nearest
