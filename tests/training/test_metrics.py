from __future__ import annotations

import math
import time
from itertools import pairwise

import numpy as np
import pytest
from sklearn import metrics as sk

from wsikit.errors import WsikitError
from wsikit.training.metrics import METRICS, auc, classification_metrics, roc_points


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
        assert found[name][1:] == pytest.approx(tuple(np.percentile(naive, [2.5, 97.5])))


def test_blocks_do_not_change_the_interval(monkeypatch):
    y, p = simulate(40, 3, 3)
    groups = np.arange(40) // 2
    whole = classification_metrics(y, p, groups, bootstrap=101, seed=1)
    monkeypatch.setattr("wsikit.training.metrics._BLOCK", 40 * 7)
    for name, interval in classification_metrics(y, p, groups, bootstrap=101, seed=1).items():
        assert interval == pytest.approx(whole[name])


def test_intervals_cover_the_truth():
    """Two normal populations d apart have AUC Phi(d / sqrt 2)."""
    rng = np.random.default_rng(0)
    distance, trials, hits = 1.0, 200, 0
    truth = 0.5 * (1 + math.erf(distance / 2))
    for trial in range(trials):
        y = np.repeat([0, 1], 40)
        scores = 1 / (1 + np.exp(-rng.normal(size=80) - distance * y))
        p = np.c_[1 - scores, scores]
        area = classification_metrics(y, p, np.arange(80), bootstrap=200, seed=trial)["auc"]
        hits += area.low <= truth <= area.high
    assert 0.88 <= hits / trials <= 0.99


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
    for interval in one.values():
        assert interval.low <= interval.value <= interval.high


def test_one_class_leaves_some_metrics_undefined_and_none_is_nan():
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    found = classification_metrics([0, 0, 0], p, ["a", "b", "c"], bootstrap=50, seed=0)
    for name in ("auc", "average_precision", "balanced_accuracy", "sensitivity"):
        assert found[name] == (None, None, None)
    assert found["accuracy"].value == pytest.approx(2 / 3)
    assert found["specificity"].value == pytest.approx(2 / 3)
    assert found["f1"].value == 0.0
    assert auc([0, 0, 0], p) is None


def test_a_class_that_never_occurs_is_left_out_of_the_means():
    y, p = simulate(40, 2, 9)
    wide = np.c_[p * 0.9, np.full(40, 0.1)]
    found = values(y, wide)
    areas = [naive_auc(y == k, wide[:, k]) for k in (0, 1)]
    assert found["auc"] == pytest.approx(np.mean(areas))


def test_no_slide_and_one_patient():
    none = classification_metrics([], np.empty((0, 2)), [], bootstrap=10, seed=0)
    assert set(none.values()) == {(None, None, None)}
    y, p = simulate(10, 2, 0)
    single = classification_metrics(y, p, ["p"] * 10, bootstrap=10, seed=0)["auc"]
    assert single.value is not None
    assert single.low is single.high is None


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
