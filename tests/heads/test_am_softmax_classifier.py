"""What ends a network that is trained on patches."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from wsikit.errors import ConfigError
from wsikit.heads.am_softmax import am_softmax_loss
from wsikit.heads.am_softmax_classifier import (
    PATCH_CLASSIFIERS,
    build_patch_classifier,
    patch_classifier_options,
)


@pytest.fixture(params=["am-softmax", "softmax"])
def classifier(request: pytest.FixtureRequest):
    torch.manual_seed(2)
    return build_patch_classifier(request.param, 6, 3)


def test_there_are_both() -> None:
    """And a third, of two classes alone, which has tests of its own."""
    assert set(PATCH_CLASSIFIERS) == {"am-softmax", "softmax", "dense"}
    assert patch_classifier_options("am-softmax") == {"s": 30.0, "m": 0.35}
    assert patch_classifier_options("softmax") == {}


def test_one_loss_a_patch_and_a_gradient_for_every_parameter(classifier) -> None:
    features, labels = torch.randn(5, 6), torch.tensor([0, 1, 2, 1, 0])
    assert classifier(features).shape == (5, 3)
    loss = classifier.loss(features, labels)
    assert loss.shape == (5,)
    torch.testing.assert_close(classifier.loss(features[2:3], labels[2:3]), loss[2:3])
    loss.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in classifier.parameters())


def test_gradient_descent_lowers_the_loss_and_finds_the_classes(classifier) -> None:
    labels = torch.arange(30) % 3
    features = functional.one_hot(labels, 6) + 0.3 * torch.randn(30, 6)
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=0.05)
    first = classifier.loss(features, labels).mean().item()
    for _ in range(60):
        optimiser.zero_grad()
        loss = classifier.loss(features, labels).mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.5 * first
    assert (classifier(features).argmax(1) == labels).all()


def test_plain_softmax_is_torchs_own() -> None:
    classifier = build_patch_classifier("softmax", 6, 3)
    features, labels = torch.randn(5, 6), torch.tensor([0, 1, 2, 1, 0])
    expected = functional.cross_entropy(classifier(features), labels)
    torch.testing.assert_close(classifier.loss(features, labels).mean(), expected)


def test_am_softmax_takes_its_options_and_keeps_the_margin_out_of_probabilities() -> None:
    features, labels = torch.randn(5, 6), torch.tensor([0, 1, 2, 1, 0])
    classifier = build_patch_classifier("am-softmax", 6, 3, s=10, m=0.1)
    cosines = classifier.cosines(features)
    torch.testing.assert_close(classifier(features), 10 * cosines)
    torch.testing.assert_close(
        classifier.loss(features, labels), am_softmax_loss(cosines, labels, 10, 0.1)
    )


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("am-softmax", {"s": 0}, "s is 0"),
        ("am-softmax", {"s": float("nan")}, "s is nan"),
        ("am-softmax", {"s": True}, "s is True"),
        ("am-softmax", {"m": -0.1}, "m is -0.1"),
        ("am-softmax", {"m": "wide"}, "m is 'wide'"),
        ("am-softmax", {"margin": 0.2}, "method 'am-softmax' has no option 'margin'"),
        ("softmax", {"s": 30}, "method 'softmax' has no option 's': it has none"),
        ("amsoftmax", {}, "did you mean 'am-softmax'"),
    ],
)
def test_what_is_refused(name: str, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_patch_classifier(name, 6, 3, **options)
