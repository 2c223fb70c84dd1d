from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.conformance.head_conformance import ring_bag
from wsikit.heads.dsmil import DSMIL


def test_against_the_paper_in_numpy() -> None:
    torch.manual_seed(1)
    head = DSMIL(12, 3).eval()
    bag = ring_bag(17)
    weights = {name: value.double().numpy() for name, value in head.state_dict().items()}
    features = bag.features.double().numpy()

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    patches, queries = linear("patch_classifier", features), linear("query", features)
    bags, shares = [], []
    for c in range(3):
        likeness = queries @ queries[patches[:, c].argmax()] / np.sqrt(128)
        shares.append(np.exp(likeness) / np.exp(likeness).sum())
        bags.append(shares[-1] @ features)
    critical, slide = patches.max(axis=0), linear("bag_classifier", np.concatenate(bags))

    with torch.no_grad():
        scores = head(bag)
        loss = head.training_loss(bag, torch.tensor(2)).item()
    np.testing.assert_allclose(scores.patch_logits, patches, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores.logits, (critical + slide) / 2, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores.attention, np.mean(shares, axis=0), rtol=1e-4)
    losses = [np.log(np.exp(logits).sum()) - logits[2] for logits in (critical, slide)]
    assert loss == pytest.approx(np.mean(losses), rel=1e-4)


def test_a_patch_like_the_critical_one_weighs_more() -> None:
    head = DSMIL(12, 2).eval()
    bag = ring_bag(20)
    scores = head(bag)
    critical = scores.patch_logits.argmax(dim=0)
    queries = head.query(bag.features)
    likeness = queries @ queries[critical[0]]
    share = (queries @ queries[critical].T / 128**0.5).softmax(dim=0)[:, 0]
    assert torch.equal(share.argsort(), likeness.argsort())
