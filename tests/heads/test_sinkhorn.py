from __future__ import annotations

import math

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import linprog
from scipy.special import expit

from wsikit.heads.sinkhorn import label_offset, soft_labels

HARD = {
    "spread": np.linspace(-1e4, 1e4, 101),
    "two heaps": np.repeat([-1e4, 1e4], [70, 30]),
    "all the same": np.full(20, 1e4),
    "one apart": np.r_[np.full(50, -30.0), 1e4],
    "nearly the same": 1e4 + np.linspace(0, 1e-3, 30),
}


def labels_of(
    logits: np.ndarray, share: float, epsilon: float, iterations: int = 100, start: float = 0.0
) -> np.ndarray:
    given = torch.from_numpy(np.asarray(logits, np.float64))
    offset = label_offset(given, share, epsilon, iterations, start)
    return soft_labels(given, epsilon, offset).numpy()


def drawn(seed: int, count: int = 40, spread: float = 3.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(-1, spread, count)


def costs(logits: np.ndarray) -> np.ndarray:
    """(N, 2): what it costs to call a patch negative, or positive."""
    return np.stack([np.logaddexp(0, logits), np.logaddexp(0, -logits)], axis=1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("epsilon", [0.2, 1.0, 5.0])
def test_agrees_with_the_transport_library(seed: int, share: float, epsilon: float) -> None:
    """POT gives each patch a mass of 1 / N, so that N times its plan are the labels."""
    logits = drawn(seed)
    count = len(logits)
    plan = ot.sinkhorn(
        np.full(count, 1 / count), [1 - share, share], costs(logits), epsilon,
        method="sinkhorn_log", numItermax=20_000, stopThr=1e-12,
    )  # fmt: skip
    np.testing.assert_allclose(labels_of(logits, share, epsilon), count * plan[:, 1], atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.125, 0.3, 0.5])
def test_with_little_entropy_it_is_the_linear_programme(seed: int, share: float) -> None:
    logits = drawn(seed)
    count = len(logits)
    cost = costs(logits)
    solved = linprog(
        cost[:, 1] - cost[:, 0], A_eq=np.ones((1, count)), b_eq=[share * count], bounds=(0, 1)
    )
    by_library = count * ot.emd(np.full(count, 1 / count), [1 - share, share], cost)[:, 1]
    labels = labels_of(logits, share, 1e-4)
    np.testing.assert_allclose(labels, solved.x, atol=1e-5)
    np.testing.assert_allclose(labels, by_library, atol=1e-5)


def plain(logits: np.ndarray, share: float, epsilon: float, iterations: int) -> np.ndarray:
    """Scale rows and columns in turn, in log space, as it stands in books."""
    kernel = -costs(logits) / epsilon
    columns = np.log(np.array([1 - share, share]) * len(logits))
    for _ in range(iterations):
        kernel = kernel - np.logaddexp.reduce(kernel, axis=1, keepdims=True)
        kernel = kernel - np.logaddexp.reduce(kernel, axis=0) + columns
    return np.exp(kernel - np.logaddexp.reduce(kernel, axis=1, keepdims=True))[:, 1]


def test_agrees_with_plain_sinkhorn_knopp_and_needs_fewer_steps() -> None:
    logits = drawn(5, count=200)
    wanted = plain(logits, 0.1, 0.5, 5000)
    np.testing.assert_allclose(labels_of(logits, 0.1, 0.5, iterations=8), wanted, atol=1e-6)
    assert abs(plain(logits, 0.1, 0.5, 8) - wanted).max() > 1e-3


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("share", [1e-4, 0.1, 0.3, 0.999])
@pytest.mark.parametrize("epsilon", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("start", [0.0, -1e6, 1e6])
def test_marginals_are_met_however_confident_the_scores(
    name: str, share: float, epsilon: float, start: float
) -> None:
    labels = labels_of(HARD[name], share, epsilon, start=start)
    assert np.isfinite(labels).all()
    assert ((labels >= 0) & (labels <= 1)).all()
    assert labels.mean() == pytest.approx(share, abs=1e-6)
    assert (np.diff(labels[np.argsort(HARD[name], kind="stable")]) >= 0).all()


@pytest.mark.parametrize("seed", range(20))
def test_marginals_are_met_for_any_scores(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.standard_t(1, size=500) * 10 ** rng.uniform(-2, 3)
    share, epsilon = rng.uniform(0.001, 0.999), 10 ** rng.uniform(-3, 2)
    assert labels_of(logits, share, epsilon).mean() == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize("logits", [drawn(0), HARD["spread"]])
def test_a_share_of_nothing_and_of_all(logits: np.ndarray) -> None:
    assert (labels_of(logits, 0, 0.5) == 0).all()
    assert (labels_of(logits, 1, 0.5) == 1).all()
    tiny = labels_of(drawn(0), 1e-9, 0.5)
    assert tiny.max() < 1e-5


def test_one_patch_gets_the_share() -> None:
    assert labels_of(np.array([7.0]), 0.3, 0.5) == pytest.approx(0.3, abs=1e-6)


def test_at_epsilon_one_labels_are_the_probabilities_shifted() -> None:
    """Where the scores have the right share already, nothing is to be done."""
    logits = drawn(3)
    np.testing.assert_allclose(
        labels_of(logits, expit(logits).mean(), 1.0), expit(logits), atol=1e-6
    )


def test_few_steps_leave_another_share_and_labels_all_the_same() -> None:
    logits = drawn(2)
    labels = labels_of(logits, 0.05, 0.2, iterations=1)
    assert np.isfinite(labels).all()
    assert abs(labels.mean() - 0.05) > 1e-4


def test_float32_scores_are_as_good() -> None:
    logits = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 50
    offset = label_offset(logits, 0.2, 0.1, 100)
    assert soft_labels(logits, 0.1, offset).mean().item() == pytest.approx(0.2, abs=1e-6)
    assert math.isfinite(offset)
