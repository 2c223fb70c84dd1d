"""Patch scores with known answers: perfect, inverted, chance; and a plain loop beside the sums."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from wsikit.training.metrics.patch_truth import (
    ScoredPatches,
    best_threshold,
    dice,
    mean_over_slides,
    pooled_auc,
    pooled_dice,
    slide_auc,
)


def make(seed: int = 0, slides: int = 12, patients: int = 5, signal: float = 1.0, ties=False):
    rng = np.random.default_rng(seed)
    made = []
    for n in range(slides):
        count = int(rng.integers(5, 60))
        share = np.where(rng.random(count) < 0.3, rng.random(count), 0.0)
        scores = signal * (share >= 0.5) + rng.normal(size=count) + 0.3 * n
        if ties:
            scores = scores.round()
        made.append(ScoredPatches(f"s{n}", f"p{n % patients}", scores, share))
    return made


def flat(slides, borders):
    keep = [np.ones(len(s.share), bool) if borders else s.clear(0.5) for s in slides]
    truth = np.concatenate([s.positive(0.5)[k] for s, k in zip(slides, keep, strict=True)])
    scores = np.concatenate([s.scores[k] for s, k in zip(slides, keep, strict=True)])
    owner = np.concatenate([[s.patient] * k.sum() for s, k in zip(slides, keep, strict=True)])
    return truth, scores, owner


@pytest.mark.parametrize("borders", [True, False])
@pytest.mark.parametrize("ties", [True, False])
def test_pooled_area_and_interval_are_those_of_a_naive_loop(borders: bool, ties: bool) -> None:
    slides = make(1, ties=ties)
    truth, scores, owner = flat(slides, borders)
    found = pooled_auc(slides, 0.5, borders=borders, bootstrap=120, seed=3)
    assert found.value == pytest.approx(roc_auc_score(truth, scores))
    patients = [f"p{n}" for n in range(5)]
    spread = []
    for draw in np.random.default_rng(3).multinomial(5, np.full(5, 1 / 5), size=120):
        times = dict(zip(patients, draw, strict=True))
        rows = np.repeat(np.arange(len(owner)), [times[o] for o in owner])
        spread.append(roc_auc_score(truth[rows], scores[rows]))
    assert found[1:3] == pytest.approx(tuple(np.percentile(spread, [2.5, 97.5])))


def test_perfect_inverted_and_chance() -> None:
    share = np.r_[np.ones(400), np.zeros(600)]
    chance = np.random.default_rng(0).random(1000)
    for scores, low, high in ((share, 1, 1), (1 - share, 0, 0), (chance, 0.45, 0.55)):
        slide = ScoredPatches("s", "p", scores.astype(float), share)
        assert low <= slide_auc(slide, 0.5, borders=True) <= high
    perfect = ScoredPatches("s", "p", share, share)
    inverted = ScoredPatches("s", "p", 1 - share, share)
    assert dice(perfect, 0.5, 0.5) == 1
    assert dice(inverted, 0.5, 0.5) == 0
    assert best_threshold([perfect], 0.5) == 1
    constant = ScoredPatches("s", "p", np.full(1000, 0.7), share)
    assert slide_auc(constant, 0.5, borders=True) == 0.5
    assert dice(constant, 0.5, 0.5) == pytest.approx(2 * 400 / 1400)


def test_a_patch_is_positive_with_the_least_share() -> None:
    slide = ScoredPatches("s", "p", np.array([4.0, 3, 2, 1]), np.array([0.5, 0.49, 1e-3, 0]))
    assert slide.positive(0.5).tolist() == [True, False, False, False]
    assert slide.positive(0.25).tolist() == [True, True, False, False]
    assert slide.clear(0.5).tolist() == [True, False, False, True]
    # What a sum over a mask leaves behind is no border.
    noise = ScoredPatches("s", "p", np.zeros(2), np.array([0.5 - 1e-12, 4e-16]))
    assert noise.clear(0.5).all()


def test_dice_is_f1_of_patches() -> None:
    slides = make(2)
    truth, scores, _ = flat(slides, borders=True)
    found = pooled_dice(slides, 0.5, 1.0, bootstrap=50, seed=0)
    assert found.value == pytest.approx(f1_score(truth, scores >= 1.0))
    assert found.low <= found.value <= found.high
    single = slides[3]
    assert dice(single, 0.5, 1.0) == pytest.approx(
        f1_score(single.positive(0.5), single.scores >= 1.0)
    )


def test_no_threshold_is_better_than_the_best() -> None:
    for seed in range(4):
        slides = make(seed, ties=seed % 2 == 0)
        best = best_threshold(slides, 0.5)
        top = pooled_dice(slides, 0.5, best, bootstrap=0, seed=0).value
        for threshold in np.unique(np.concatenate([s.scores for s in slides])):
            assert pooled_dice(slides, 0.5, threshold, bootstrap=0, seed=0).value <= top + 1e-12


def test_means_leave_out_slides_without_the_number() -> None:
    slides = make(4, slides=4, patients=4)
    found = mean_over_slides(slides, [0.5, None, 1.0, None], "none", bootstrap=200, seed=0)
    assert found.value == 0.75
    assert (found.low, found.high) == (0.5, 1.0)
    assert mean_over_slides(slides, [None] * 4, "none", seed=0) == (None, None, None, "none")


def test_many_slides_of_a_patient_widen_the_interval() -> None:
    slides = make(5, slides=20, patients=20)
    alone = pooled_auc(slides, 0.5, borders=True, bootstrap=300, seed=0)
    copies = [s for s in slides for _ in range(8)]
    again = pooled_auc(copies, 0.5, borders=True, bootstrap=300, seed=0)
    naive = [
        ScoredPatches(s.slide_id, f"{s.patient}-{n}", s.scores, s.share)
        for n, s in enumerate(copies)
    ]
    wrong = pooled_auc(naive, 0.5, borders=True, bootstrap=300, seed=0)
    assert again == pytest.approx(alone, nan_ok=True) or again[:3] == pytest.approx(alone[:3])
    assert wrong.high - wrong.low < 0.5 * (alone.high - alone.low)


def test_what_is_undefined_says_why() -> None:
    empty = ScoredPatches("s", "p", np.array([1.0, 2.0]), np.zeros(2))
    why = "needs patches inside and outside the known regions"
    assert pooled_auc([empty], 0.5, borders=True, seed=0) == (None, None, None, why)
    assert pooled_auc([], 0.5, borders=True, seed=0).value is None
    assert slide_auc(empty, 0.5, borders=True) is None
    assert dice(empty, 0.5, 9.0) is None
    assert best_threshold([empty], 0.5) is None
    assert pooled_dice([], 0.5, 0.5, seed=0).reason == "no patch is positive or called positive"
