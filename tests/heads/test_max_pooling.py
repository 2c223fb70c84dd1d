from __future__ import annotations

import numpy as np
import torch

from tests.conformance.head_conformance import ring_bag
from wsikit.heads.bag import Bag
from wsikit.heads.max_pooling import MaxPooling


def test_against_the_formula_in_numpy() -> None:
    torch.manual_seed(1)
    head = MaxPooling(12, 3).eval()
    bag = ring_bag(17)
    weights = {name: value.double().numpy() for name, value in head.state_dict().items()}
    hidden = bag.features.double().numpy() @ weights["embed.0.weight"].T + weights["embed.0.bias"]
    patches = np.maximum(hidden, 0) @ weights["classifier.weight"].T + weights["classifier.bias"]
    with torch.no_grad():
        scores = head(bag)
    np.testing.assert_allclose(scores.patch_logits, patches, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scores.logits, patches.max(axis=0), rtol=1e-4, atol=1e-6)


def test_repeating_every_patch_changes_nothing() -> None:
    head = MaxPooling(12, 3).eval()
    bag = ring_bag(6)
    twice = Bag(bag.features.repeat(2, 1), bag.rowcol.repeat(2, 1))
    torch.testing.assert_close(head(twice).logits, head(bag).logits)


def test_one_patch_a_class_is_taught() -> None:
    head = MaxPooling(12, 3).eval()
    bag = ring_bag(40)
    features = bag.features.requires_grad_()
    scores = head(bag)
    scores.logits.sum().backward()
    taught = features.grad.abs().sum(dim=1).nonzero().flatten()
    assert set(taught.tolist()) == set(scores.patch_logits.argmax(dim=0).tolist())


def test_of_two_classes_the_patch_most_likely_positive_decides() -> None:
    torch.manual_seed(1)
    head = MaxPooling(12, 2).eval()
    scores = head(ring_bag(40))
    probabilities = scores.patch_logits.softmax(dim=1)[:, 1]
    assert scores.logits.softmax(dim=0)[1] == probabilities.max()
