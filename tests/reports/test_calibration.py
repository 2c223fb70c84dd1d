from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve

from wsikit.reports.calibration import calibration_bins

RNG = np.random.default_rng(3)
PROBABILITY = RNG.random(103)
POSITIVE = RNG.random(103) < PROBABILITY


def test_groups_are_those_of_scikit_learn():
    ours = calibration_bins(PROBABILITY[:100], POSITIVE[:100])
    observed, predicted = calibration_curve(
        POSITIVE[:100], PROBABILITY[:100], n_bins=5, strategy="quantile"
    )
    np.testing.assert_allclose([b.predicted for b in ours], predicted)
    np.testing.assert_allclose([b.observed for b in ours], observed)


def test_intervals_are_wilsons():
    for group in calibration_bins(PROBABILITY, POSITIVE):
        theirs = binomtest(round(group.observed * group.slides), group.slides)
        interval = theirs.proportion_ci(method="wilson")
        assert (group.low, group.high) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_every_slide_is_counted_once():
    assert sum(b.slides for b in calibration_bins(PROBABILITY, POSITIVE)) == 103


def test_too_few_or_one_class_gives_none():
    assert calibration_bins(PROBABILITY[:19], POSITIVE[:19]) == ()
    assert calibration_bins(PROBABILITY, np.ones(103, bool)) == ()
    assert calibration_bins(np.zeros(0), np.zeros(0, bool)) == ()


def test_a_probability_that_is_no_number_is_left_out():
    with_nan = np.append(PROBABILITY, np.nan)
    assert calibration_bins(with_nan, np.append(POSITIVE, True)) == calibration_bins(
        PROBABILITY, POSITIVE
    )


def test_slides_of_one_patient_count_once():
    """Four slides of each patient that say the same: the interval is that of the patients."""
    alone = calibration_bins(PROBABILITY[:100], POSITIVE[:100])
    many = calibration_bins(
        np.repeat(PROBABILITY[:100], 4), np.repeat(POSITIVE[:100], 4), np.repeat(np.arange(100), 4)
    )
    naive = calibration_bins(np.repeat(PROBABILITY[:100], 4), np.repeat(POSITIVE[:100], 4))
    for a, m, n in zip(alone, many, naive, strict=True):
        assert (m.observed, m.low, m.high) == pytest.approx((a.observed, a.low, a.high))
        assert (m.slides, m.patients) == (80, 20)
        assert n.high - n.low < 0.6 * (m.high - m.low)


def test_wilson_covers_where_a_bootstrap_does_not():
    """Six patients in a group, nine in ten of them positive."""
    rng = np.random.default_rng(0)
    wilson = bootstrap = 0
    for _ in range(400):
        positive = np.r_[rng.random(6) < 0.9, [True] * 12, [False] * 12]
        group = calibration_bins(np.r_[np.full(6, 0.1), np.linspace(0.2, 1, 24)], positive)[0]
        wilson += group.low <= 0.9 <= group.high
        drawn = positive[:6][rng.integers(0, 6, (200, 6))].mean(axis=1)
        low, high = np.percentile(drawn, [2.5, 97.5])
        bootstrap += low <= 0.9 <= high
    assert wilson / 400 > 0.9
    assert bootstrap / 400 < 0.6
