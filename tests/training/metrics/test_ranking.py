"""One walk down a ranking, beside scikit-learn on the resampled rows themselves."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from wsikit.training.metrics import ranking
from wsikit.training.metrics.ranking import Ranking, areas

PATIENTS, COUNT, RESAMPLES = 7, 90, 40


def make(seed: int, decimals: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two kinds, scores with ties within and between them, patients, and draws of these."""
    rng = np.random.default_rng(seed)
    owner = rng.integers(0, PATIENTS, COUNT)
    positive = rng.random(COUNT) < 0.4
    scores = np.round(positive + rng.normal(size=COUNT) + 0.3 * owner, decimals)
    draws = rng.multinomial(PATIENTS, np.full(PATIENTS, 1 / PATIENTS), size=RESAMPLES)
    return positive, scores, owner, draws


@pytest.mark.parametrize("decimals", [8, 0, -1])
@pytest.mark.parametrize("together", [1, 7, 128])
def test_it_is_what_scikit_learn_says_of_every_resample(
    decimals: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "TOGETHER", together)
    positive, scores, owner, draws = make(1, decimals)
    found = areas(Ranking.of(positive, scores, owner), draws.astype(float))
    for draw, roc, precision in zip(draws, *found, strict=True):
        rows = np.repeat(np.arange(COUNT), draw[owner])
        assert roc == pytest.approx(roc_auc_score(positive[rows], scores[rows]), abs=1e-13)
        expected = average_precision_score(positive[rows], scores[rows])
        assert precision == pytest.approx(expected, abs=1e-13)


def test_a_resample_of_one_kind_has_no_area() -> None:
    """The first patient has all positives, the second all negatives; the third has both."""
    order = Ranking.of(
        np.array([True, True, False, True, False]), np.arange(5.0), np.array([0, 0, 1, 2, 2])
    )
    draws = np.array([[2, 0, 0], [0, 2, 0], [0, 0, 0], [1, 1, 0], [0, 0, 3]], float)
    roc, precision = areas(order, draws)
    assert np.isnan(roc).tolist() == [True, True, True, False, False]
    assert np.isnan(precision).tolist() == np.isnan(roc).tolist()
    assert roc[3:].tolist() == [0.0, 0.0]


def test_nothing_to_rank() -> None:
    none = Ranking.of(np.zeros(0, bool), np.zeros(0), np.zeros(0, np.int64))
    assert np.isnan(areas(none, np.ones((3, 0))).roc).all()
    assert areas(none, np.ones((0, 0))).precision.shape == (0,)


def test_what_stands_in_a_ranking_does_not_depend_on_its_order() -> None:
    positive, scores, owner, draws = make(2, 1)
    turned = np.random.default_rng(0).permutation(COUNT)
    one = areas(Ranking.of(positive, scores, owner), draws.astype(float))
    other = areas(Ranking.of(positive[turned], scores[turned], owner[turned]), draws.astype(float))
    np.testing.assert_array_equal(one, other)
