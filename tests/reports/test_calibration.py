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
