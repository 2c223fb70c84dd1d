from __future__ import annotations

import json
import math
import time
from itertools import pairwise

import numpy as np
import pytest
from sklearn import metrics as sk

from wsikit.errors import WsikitError
from wsikit.training.metrics.metrics import (
    METRICS,
    auc,
    classification_metrics,
    metric_differences,
    roc_points,
)


def simulate(n: int, classes: int, seed: int, ties: bool = False):
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, n - classes)]
    logits = rng.normal(size=(n, classes)) + 1.2 * np.eye(classes)[labels]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    if ties:
        p = np.round(p, 1)
    return labels, p


def values(labels, p, groups=None, **kwargs):
    groups = np.arange(len(labels)) if groups is None else groups
    found = classification_metrics(labels, p, groups, bootstrap=0, seed=0, **kwargs)
    return {name: interval.value for name, interval in found.items()}


def naive_auc(positive, scores):
    """Count pairs one by one."""
    won = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a in scores[positive]
        for b in scores[~positive]
    ]
    return sum(won) / len(won)


def naive_calibration_error(hit, stated, bins=10):
    """Walk through the bins as Naeini, Cooper and Hauskrecht (2015) print them."""
    error = 0.0
    for b in range(bins):
        last = b == bins - 1
        inside = (stated >= b / bins) & ((stated < (b + 1) / bins) | last)
        if inside.any():
            error += inside.mean() * abs(hit[inside].mean() - stated[inside].mean())
    return error


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_two_classes_agree_with_scikit_learn(seed, ties):
    y, p = simulate(70, 2, seed, ties)
    picked = p.argmax(1)
    expected = {
        "auc": sk.roc_auc_score(y, p[:, 1]),
        "average_precision": sk.average_precision_score(y, p[:, 1]),
        "accuracy": sk.accuracy_score(y, picked),
        "balanced_accuracy": sk.balanced_accuracy_score(y, picked),
        "sensitivity": sk.recall_score(y, picked),
        "specificity": sk.recall_score(y, picked, pos_label=0),
        "f1": sk.f1_score(y, picked),
        "brier": (((p - np.eye(2)[y]) ** 2).sum(1) / 2).mean(),
        "calibration_error": naive_calibration_error(y == 1, p[:, 1]),
    }
    assert values(y, p) == pytest.approx(expected)
    assert tuple(values(y, p)) == METRICS
    if not ties:
        assert expected["brier"] == pytest.approx(sk.brier_score_loss(y, p[:, 1]))


@pytest.mark.parametrize("classes", [3, 4])
def test_more_classes_agree_with_scikit_learn(classes):
    y, p = simulate(90, classes, 1)
    picked, one_hot = p.argmax(1), np.eye(classes)[y]
    specificities = [
        sk.recall_score(one_hot[:, k], picked == k, pos_label=0) for k in range(classes)
    ]
    expected = {
        "auc": sk.roc_auc_score(y, p, multi_class="ovr", average="macro"),
        "average_precision": sk.average_precision_score(one_hot, p, average="macro"),
        "accuracy": sk.accuracy_score(y, picked),
        "balanced_accuracy": sk.balanced_accuracy_score(y, picked),
        "sensitivity": sk.recall_score(y, picked, average="macro"),
        "specificity": np.mean(specificities),
        "f1": sk.f1_score(y, picked, average="macro"),
        "brier": ((p - one_hot) ** 2).sum(1).mean(),
        "calibration_error": naive_calibration_error(picked == y, p.max(1)),
    }
    assert values(y, p) == pytest.approx(expected)


@pytest.mark.parametrize("ties", [False, True])
def test_auc_counts_pairs(ties):
    y, p = simulate(60, 2, 5, ties)
    assert auc(y, p) == pytest.approx(naive_auc(y == 1, p[:, 1]))


def test_auc_knows_order_only():
    y, p = simulate(60, 2, 6)
    squeezed = np.c_[1 - p[:, 1] ** 3, p[:, 1] ** 3]
    assert auc(y, squeezed) == pytest.approx(auc(y, p))
    assert auc(1 - y, p) == pytest.approx(1 - auc(y, p))


def test_the_interval_is_that_of_a_naive_loop_over_patients():
    """Resample with the same draws, repeat whole patients, and ask scikit-learn each time."""
    y, p = simulate(50, 2, 2)
    groups = np.array([f"patient {n}" for n in np.random.default_rng(0).integers(0, 20, 50)])
    patients = list(dict.fromkeys(groups))
    found = classification_metrics(y, p, groups, bootstrap=150, seed=9)
    draws = np.random.default_rng(9).multinomial(
        len(patients), np.full(len(patients), 1 / len(patients)), size=150
    )
    areas, f1s, precisions = [], [], []
    for draw in draws:
        times = dict(zip(patients, draw, strict=True))
        rows = np.repeat(np.arange(50), [times[group] for group in groups])
        areas.append(sk.roc_auc_score(y[rows], p[rows, 1]))
        precisions.append(sk.average_precision_score(y[rows], p[rows, 1]))
        f1s.append(sk.f1_score(y[rows], p[rows].argmax(1)))
    for name, naive in (("auc", areas), ("f1", f1s), ("average_precision", precisions)):
        assert found[name][1:3] == pytest.approx(tuple(np.percentile(naive, [2.5, 97.5])))


def test_blocks_do_not_change_the_interval(monkeypatch):
    y, p = simulate(40, 3, 3)
    groups = np.arange(40) // 2
    whole = classification_metrics(y, p, groups, bootstrap=101, seed=1)
    monkeypatch.setattr("wsikit.training.metrics.bootstrap.BLOCK", 40 * 7)
    for name, interval in classification_metrics(y, p, groups, bootstrap=101, seed=1).items():
        assert interval[:3] == pytest.approx(whole[name][:3])


def simulate_patients(rng, patients=60, slides=4, between=1.0, within=0.5):
    """Draw slides of patients who differ; a patient's slides share most of what varies."""
    y = np.repeat(np.arange(patients) % 2, slides)
    owner = np.repeat(np.arange(patients), slides)
    x = y + between * rng.normal(size=patients)[owner] + within * rng.normal(size=len(y))
    p = 1 / (1 + np.exp(-(x - 0.5)))
    return y, np.c_[1 - p, p], owner


@pytest.mark.parametrize("slides", [1, 4])
def test_intervals_cover_the_truth_nineteen_times_in_twenty(slides):
    """Two normal populations 1 apart with spread s have AUC Phi(1 / (s sqrt 2)), and at 0.5 the
    better threshold has accuracy Phi(0.5 / s). Drawing slides one by one covers too seldom."""
    rng = np.random.default_rng(slides)
    spread = math.hypot(1.0, 0.5)
    truth = {"auc": normal(1 / spread / math.sqrt(2)), "accuracy": normal(0.5 / spread)}
    trials, hits, naive = 200, dict.fromkeys(truth, 0), dict.fromkeys(truth, 0)
    for trial in range(trials):
        y, p, owner = simulate_patients(rng, slides=slides)
        by_patient = classification_metrics(y, p, owner, bootstrap=200, seed=trial)
        by_slide = classification_metrics(y, p, np.arange(len(y)), bootstrap=200, seed=trial)
        for name, value in truth.items():
            hits[name] += by_patient[name].low <= value <= by_patient[name].high
            naive[name] += by_slide[name].low <= value <= by_slide[name].high
    for name in truth:
        assert 0.90 <= hits[name] / trials <= 0.98, (name, hits)
        if slides > 1:
            assert naive[name] / trials < 0.85, (name, naive)


def normal(z):
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def test_slides_of_one_patient_are_not_counted_as_many():
    """Ten copies of a slide under one patient tell nothing new; as ten patients they seem to."""
    y, p = simulate(30, 2, 4)
    alone = classification_metrics(y, p, np.arange(30), bootstrap=500, seed=0)["auc"]
    y10, p10, patients = np.repeat(y, 10), np.repeat(p, 10, axis=0), np.repeat(np.arange(30), 10)
    grouped = classification_metrics(y10, p10, patients, bootstrap=500, seed=0)["auc"]
    naive = classification_metrics(y10, p10, np.arange(300), bootstrap=500, seed=0)["auc"]
    assert grouped == pytest.approx(alone)
    assert naive.high - naive.low < 0.5 * (grouped.high - grouped.low)


def test_seeded_and_ordered():
    y, p = simulate(40, 2, 8)
    one = classification_metrics(y, p, np.arange(40), bootstrap=100, seed=1)
    assert one == classification_metrics(y, p, np.arange(40), bootstrap=100, seed=1)
    assert one != classification_metrics(y, p, np.arange(40), bootstrap=100, seed=2)
    for name, interval in one.items():
        if name != "calibration_error":
            assert interval.low <= interval.value <= interval.high
            assert interval.reason is None
    assert one["calibration_error"][1:3] == (None, None)
    assert "resampling adds" in one["calibration_error"].reason


def test_one_class_leaves_some_metrics_undefined_and_none_is_nan():
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    found = classification_metrics([0, 0, 0], p, ["a", "b", "c"], bootstrap=50, seed=0)
    for name in ("auc", "average_precision", "balanced_accuracy"):
        assert found[name] == (None, None, None, "needs slides of two classes")
    assert found["sensitivity"] == (None, None, None, "no positive slide")
    assert found["calibration_error"] == (None, None, None, "needs at least 20 slides")
    assert found["accuracy"].value == pytest.approx(2 / 3)
    assert found["specificity"].value == pytest.approx(2 / 3)
    assert found["f1"].value == 0.0
    assert "NaN" not in json.dumps([interval._asdict() for interval in found.values()])
    assert auc([0, 0, 0], p) is None


def test_a_class_that_never_occurs_is_left_out_of_the_means():
    y, p = simulate(40, 2, 9)
    wide = np.c_[p * 0.9, np.full(40, 0.1)]
    found = values(y, wide)
    areas = [naive_auc(y == k, wide[:, k]) for k in (0, 1)]
    assert found["auc"] == pytest.approx(np.mean(areas))


def test_no_slide_and_one_patient():
    none = classification_metrics([], np.empty((0, 2)), [], bootstrap=10, seed=0)
    assert {interval[:3] for interval in none.values()} == {(None, None, None)}
    assert all(interval.reason for interval in none.values())
    y, p = simulate(10, 2, 0)
    single = classification_metrics(y, p, ["p"] * 10, bootstrap=10, seed=0)["auc"]
    assert single.value is not None
    assert single.low is single.high is None
    assert single.reason == "no interval: it needs at least two patients"


def test_resamples_that_are_left_out_are_mentioned():
    """One of eight patients is positive, so a third of the resamples have no positive slide."""
    y = np.r_[1, np.zeros(7, int)]
    p = np.c_[1 - y * 0.5, y * 0.5]
    area = classification_metrics(y, p, np.arange(8), bootstrap=1000, seed=0)["auc"]
    left = int(area.reason.split()[2])
    assert area.reason == f"interval from {left} of 1000 resamples; undefined in the others"
    assert left / 1000 == pytest.approx(1 - (7 / 8) ** 8, abs=0.05)


def test_a_difference_is_that_of_a_naive_loop_over_patients():
    y, p = simulate(50, 2, 2)
    _, q = simulate(50, 2, 3)
    groups = np.random.default_rng(0).integers(0, 20, 50)
    found = metric_differences(y, p, q, groups, bootstrap=150, seed=9)
    patients = list(dict.fromkeys(groups))
    even = np.full(len(patients), 1 / len(patients))
    differences = []
    for draw in np.random.default_rng(9).multinomial(len(patients), even, size=150):
        times = dict(zip(patients, draw, strict=True))
        rows = np.repeat(np.arange(50), [times[group] for group in groups])
        areas = [sk.roc_auc_score(y[rows], scores[rows, 1]) for scores in (p, q)]
        differences.append(areas[1] - areas[0])
    expected = sk.roc_auc_score(y, q[:, 1]) - sk.roc_auc_score(y, p[:, 1])
    assert found["auc"].value == pytest.approx(expected)
    assert found["auc"][1:3] == pytest.approx(tuple(np.percentile(differences, [2.5, 97.5])))


def test_a_run_differs_from_itself_by_nothing():
    y, p = simulate(60, 3, 1)
    for name, interval in metric_differences(y, p, p, np.arange(60), seed=0).items():
        assert interval.value == 0
        assert name == "calibration_error" or interval[1:3] == (0, 0)


def test_pairing_narrows_the_interval():
    """Two runs that err on the same slides differ by less than two that err on others."""
    y, p = simulate(80, 2, 5)
    rng = np.random.default_rng(0)
    near = np.clip(p[:, 1] + rng.normal(scale=0.02, size=80), 0, 1)
    far = rng.permuted(p[y == 1, 1]), rng.permuted(p[y == 0, 1])
    other = np.empty(80)
    other[y == 1], other[y == 0] = far
    widths = []
    for scores in (near, other):
        q = np.c_[1 - scores, scores]
        found = metric_differences(y, p, q, np.arange(80), bootstrap=300, seed=0)["auc"]
        widths.append(found.high - found.low)
    assert widths[0] < 0.4 * widths[1]


def test_a_thousand_resamples_take_under_two_seconds():
    y, p = simulate(50, 2, 0)
    start = time.perf_counter()
    classification_metrics(y, p, np.arange(50), bootstrap=1000, seed=0)
    assert time.perf_counter() - start < 2


def test_bad_input():
    with pytest.raises(WsikitError, match="not finite"):
        classification_metrics([0, 1], [[0.5, 0.5], [np.nan, 1]], ["a", "b"], seed=0)
    with pytest.raises(ValueError, match="shapes"):
        classification_metrics([0, 1], [[0.5, 0.5]], ["a", "b"], seed=0)
    with pytest.raises(ValueError, match="outside"):
        classification_metrics([0, 2], [[0.5, 0.5]] * 2, ["a", "b"], seed=0)


def test_roc_points_enclose_the_area():
    y, p = simulate(60, 2, 7, ties=True)
    curve = roc_points(y == 1, p[:, 1])
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)
    steps = zip(pairwise(curve.fpr), pairwise(curve.tpr), strict=True)
    assert sum((b - a) * (c + d) / 2 for (a, b), (c, d) in steps) == pytest.approx(auc(y, p))
    assert roc_points([True, True], [0.1, 0.2]) is None
