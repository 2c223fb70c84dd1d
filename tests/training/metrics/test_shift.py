"""Distances against scikit-learn's, and false alarms against the rate that is promised."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from wsikit.training.metrics.shift import (
    MAX_AXES,
    Cloud,
    enough,
    held_out_distances,
    limit_of,
)


def slides(rng: np.random.Generator, count: int, width: int) -> np.ndarray:
    """Vectors with a few strong directions, as slides' mean features have; no normal ones."""
    mixing = np.random.default_rng(0).normal(size=(4, width))
    return rng.gamma(2.0, size=(count, 4)) @ mixing + 0.3 * rng.normal(size=(count, width))


@pytest.mark.parametrize(("count", "width"), [(40, 6), (200, 50), (30, 300), (12, 64)])
def test_distance_is_mahalanobis_by_ledoit_and_wolf(count: int, width: int) -> None:
    rng = np.random.default_rng(1)
    vectors = slides(rng, count, width)
    theirs, ours = LedoitWolf().fit(vectors), Cloud.of(vectors)
    for vector in (*slides(rng, 3, width), *(10 * rng.normal(size=(3, width)))):
        expected = np.sqrt(theirs.mahalanobis(vector[None])[0])
        assert ours.distance(vector) == pytest.approx(expected, rel=1e-4)


def test_beyond_the_kept_axes_variance_is_kept_as_a_mean() -> None:
    rng = np.random.default_rng(2)
    vectors = slides(rng, 400, 300)
    theirs, ours = LedoitWolf().fit(vectors), Cloud.of(vectors)
    assert ours.axes.shape == (MAX_AXES, 300)
    np.testing.assert_allclose(ours.axes @ ours.axes.T, np.eye(MAX_AXES), atol=1e-5)
    total = ours.variances.sum() + (300 - MAX_AXES) * ours.rest
    assert total == pytest.approx(np.trace(theirs.covariance_))
    new = slides(rng, 50, 300)
    expected = np.sqrt(theirs.mahalanobis(new))
    found = np.array([ours.distance(vector) for vector in new])
    assert np.corrcoef(found, expected)[0, 1] > 0.95


@pytest.mark.parametrize(("count", "width"), [(10, 6), (25, 100), (60, 20)])
def test_like_vectors_pass_the_limit_no_more_often_than_promised(count: int, width: int) -> None:
    """Over many drawings of a training set and of new vectors; and nearly as often, too."""
    rng = np.random.default_rng(3)
    far, promised = [], 0.0
    for _ in range(25):
        vectors = slides(rng, count, width)
        limit = limit_of(held_out_distances(vectors, [str(n) for n in range(count)]))
        promised = limit.rate
        cloud = Cloud.of(vectors)
        far.append(np.mean([cloud.distance(v) > limit.distance for v in slides(rng, 40, width)]))
    error = np.std(far) / np.sqrt(len(far))
    assert np.mean(far) <= promised + 2 * error
    assert np.mean(far) >= promised / 5


@pytest.mark.parametrize(
    ("count", "rank", "rate"),
    [(10, 10, 1 / 11), (38, 38, 1 / 39), (39, 39, 1 / 40), (79, 78, 1 / 40)],
)
def test_the_limit_is_the_conformal_quantile(count: int, rank: int, rate: float) -> None:
    limit = limit_of(np.random.default_rng(0).permutation(np.arange(1.0, count + 1)))
    assert limit.distance == rank
    assert limit.rate == pytest.approx(rate)


def test_unlike_vectors_pass_it() -> None:
    rng = np.random.default_rng(4)
    vectors = slides(rng, 40, 100)
    limit = limit_of(held_out_distances(vectors, [str(n) for n in range(40)]))
    cloud = Cloud.of(vectors)
    elsewhere = slides(rng, 20, 100) + 3 * rng.normal(size=100)
    assert all(cloud.distance(vector) > limit.distance for vector in elsewhere)


def test_slides_of_a_patient_are_held_out_together() -> None:
    """Else a patient's second slide would make the first one look usual."""
    rng = np.random.default_rng(5)
    vectors = np.repeat(rng.normal(size=(12, 30)), 2, axis=0) + 1e-3 * rng.normal(size=(24, 30))
    patients = [str(n // 2) for n in range(24)]
    apart = held_out_distances(vectors, patients)
    mixed = held_out_distances(vectors, [str(n) for n in range(24)])
    assert np.median(apart) > 1.5 * np.median(mixed)


def test_too_few() -> None:
    assert enough([str(n) for n in range(10)])
    assert not enough([str(n) for n in range(9)])
    assert not enough([str(n % 4) for n in range(40)])


def test_vectors_that_are_all_alike() -> None:
    cloud = Cloud.of(np.ones((12, 5)))
    assert cloud.distance(np.ones(5)) == 0
    assert cloud.distance(np.full(5, 1.1)) > 1e100
