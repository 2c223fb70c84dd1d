"""DeLong's test against its definition, a published example, and what resampling says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from wsikit.training.metrics.delong import area_covariance, delong_test

OVARIAN_CANCER = """
3.0 5.8 10 0   3.2 6.3  5 1   3.9 6.8  3 1   2.8 4.8  6 0   3.2 5.8  3 1   0.9 4.0  5 0
2.5 5.7  8 0   1.6 5.6  5 1   3.8 5.7  5 1   3.7 6.7  6 1   3.2 5.4  4 1   3.8 6.6  6 1
4.1 6.6  5 1   3.6 5.7  5 1   4.3 7.0  4 1   3.6 6.7  4 0   2.3 4.4  6 1   4.2 7.6  4 0
4.0 6.6  6 0   3.5 5.8  6 1   3.8 6.8  7 1   3.0 4.7  8 0   4.5 7.4  5 1   3.7 7.4  5 1
3.1 6.6  6 1   4.1 8.2  6 1   4.3 7.0  5 1   4.3 6.5  4 1   3.2 5.1  5 1   2.6 4.7  6 1
3.3 6.8  6 0   1.7 4.0  7 0   3.7 6.1  5 1   3.3 6.3  7 1   4.2 7.7  6 1   3.5 6.2  5 1
2.9 5.7  9 0   2.1 4.8  7 1   2.8 6.2  8 0   4.0 7.0  7 1   3.3 5.7  6 1   3.7 6.9  5 1
3.6 6.6  5 1
"""
"""Albumin, total protein, K-G score, outcome of 43 patients: the example of DeLong, DeLong and
Clarke-Pearson (1988) as the SAS/STAT user's guide prints it (The LOGISTIC Procedure, "Comparing
Receiver Operating Characteristic Curves")."""


def simulate(seed: int, n: int = 60, ties: bool = False):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    shared = rng.normal(size=n)
    scores = np.stack([d * positive + shared + rng.normal(size=n) for d in (0.5, 1.2, 0.0)], axis=1)
    return positive, np.round(scores) if ties else scores


def by_definition(positive, scores):
    """Form every pair, as DeLong, DeLong and Clarke-Pearson (1988) write it."""
    above, below = scores[positive], scores[~positive]
    kernel = (above[:, None] > below[None]) + 0.5 * (above[:, None] == below[None])
    v10, v01 = kernel.mean(axis=1), kernel.mean(axis=0)
    areas = kernel.mean(axis=(0, 1))
    m, n, k = *kernel.shape[:2], scores.shape[1]
    s10, s01 = np.zeros((k, k)), np.zeros((k, k))
    for r in range(k):
        for s in range(k):
            s10[r, s] = ((v10[:, r] - areas[r]) * (v10[:, s] - areas[s])).sum() / (m - 1)
            s01[r, s] = ((v01[:, r] - areas[r]) * (v01[:, s] - areas[s])).sum() / (n - 1)
    return areas, s10 / m + s01 / n


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_mid_ranks_give_what_the_pairs_give(seed: int, ties: bool) -> None:
    positive, scores = simulate(seed, ties=ties)
    areas, covariance = by_definition(positive, scores)
    found = area_covariance(positive, scores)
    np.testing.assert_allclose(found.areas, areas, atol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-12)
    for k in range(3):
        assert found.areas[k] == pytest.approx(roc_auc_score(positive, scores[:, k]))


def test_the_published_example() -> None:
    """Areas, standard errors, differences from the K-G score and their tests, as printed there."""
    table = np.array(OVARIAN_CANCER.split(), float).reshape(-1, 4)
    positive = table[:, 3] == 1
    albumin, protein, score = table[:, 0], table[:, 1], -table[:, 2]
    found = area_covariance(positive, np.stack([albumin, score, protein], axis=1))
    assert found.areas.round(4).tolist() == [0.7366, 0.7258, 0.6478]
    assert np.sqrt(np.diag(found.covariance)).round(4).tolist() == [0.0927, 0.1028, 0.1000]
    contrast = np.array([[1, -1, 0], [0, -1, 1]])
    difference = contrast @ found.areas
    wald = difference @ np.linalg.solve(contrast @ found.covariance @ contrast.T, difference)
    assert wald == pytest.approx(2.5340, abs=5e-5)
    assert stats.chi2.sf(wald, 2) == pytest.approx(0.2817, abs=5e-5)
    for other, printed in (
        (albumin, (0.0108, 0.0953, -0.1761, 0.1976, 0.0127, 0.9102)),
        (protein, (-0.0780, 0.1046, -0.2830, 0.1271, 0.5554, 0.4561)),
    ):
        test = delong_test(positive, score, other)
        values = (test.difference, test.standard_error, test.low, test.high, test.z**2, test.p)
        assert tuple(round(v, 4) for v in values) == printed


def test_the_standard_error_is_that_of_a_bootstrap() -> None:
    positive, scores = simulate(1, n=200)
    rng = np.random.default_rng(0)
    above, below = scores[positive, :2], scores[~positive, :2]
    won = (above[:, None] > below[None]).astype(float)
    m, n = won.shape[:2]
    spread = []
    for _ in range(1000):
        areas = won[rng.integers(0, m, m)][:, rng.integers(0, n, n)].mean(axis=(0, 1))
        spread.append(areas[1] - areas[0])
    test = delong_test(positive, scores[:, 0], scores[:, 1])
    assert test.standard_error == pytest.approx(np.std(spread), rel=0.1)


def test_of_equal_scorers_one_in_twenty_differs() -> None:
    """Two scores of the same worth: p is uniform."""
    rng = np.random.default_rng(0)
    p = []
    for _ in range(600):
        positive = np.arange(80) < 30
        shared = positive + rng.normal(size=80)
        first, second = shared + rng.normal(size=80), shared + rng.normal(size=80)
        p.append(delong_test(positive, first, second).p)
    assert 0.025 < np.mean(np.array(p) < 0.05) < 0.085
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_order_and_scale() -> None:
    positive, scores = simulate(2)
    one = delong_test(positive, scores[:, 0], scores[:, 1])
    other = delong_test(positive, scores[:, 1], np.exp(scores[:, 0]))
    assert other.difference == pytest.approx(-one.difference)
    assert other.p == pytest.approx(one.p)
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low))


def test_what_cannot_be_tested_says_so() -> None:
    positive, scores = simulate(3)
    same = delong_test(positive, scores[:, 0], 2 * scores[:, 0])
    assert (same.difference, same.p) == (0, None)
    assert "cannot be tested" in same.reason
    perfect = delong_test(positive, positive + 0.0, positive + scores[:, 0] * 1e-3)
    assert (perfect.difference, perfect.z) == (0, None)
    few = delong_test([True, False, False], [1, 2, 3], [1, 2, 3])
    assert few[:6] == (None,) * 6
    assert few.reason == "needs at least two slides of each class"
    with pytest.raises(ValueError, match="two of each"):
        area_covariance([True, True], [[1.0], [2.0]])
