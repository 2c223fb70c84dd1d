"""AM-softmax against its formula, its limit, numerical gradients and the extremes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from wsikit.heads.am_softmax import SHORTEST, NormalisedLinear, am_softmax_loss

F64 = torch.float64


def drawn(batch: int = 7, width: int = 5, classes: int = 4, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, width, generator=generator, dtype=F64) * 3
    layer = NormalisedLinear(width, classes).double()
    with torch.no_grad():
        layer.weight.copy_(torch.randn(classes, width, generator=generator, dtype=F64))
    labels = torch.randint(classes, (batch,), generator=generator)
    return features, layer, labels


def by_the_formula(w: np.ndarray, f: np.ndarray, y: np.ndarray, s: float, m: float) -> np.ndarray:
    """The printed fraction, example by example, in float64."""
    losses = []
    for feature, label in zip(f, y, strict=True):
        cosine = [row @ feature / np.linalg.norm(row) / np.linalg.norm(feature) for row in w]
        above = np.exp(s * (cosine[label] - m))
        rest = sum(np.exp(s * c) for j, c in enumerate(cosine) if j != label)
        losses.append(-np.log(above / (above + rest)))
    return np.array(losses)


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize(("s", "m"), [(30, 0.35), (1, 0), (10, 0.2), (30, 0), (4, 1.5)])
def test_against_the_formula(s: float, m: float, classes: int) -> None:
    features, layer, labels = drawn(classes=classes, seed=classes)
    loss = am_softmax_loss(layer(features), labels, s, m)
    weight = layer.weight.detach().numpy()
    expected = by_the_formula(weight, features.numpy(), labels.numpy(), s, m)
    np.testing.assert_allclose(loss.detach().numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("s", [1.0, 7.5, 30.0])
def test_without_a_margin_it_is_plain_normalised_softmax(s: float) -> None:
    features, layer, labels = drawn()
    unit = features / features.norm(dim=1, keepdim=True)
    rows = layer.weight / layer.weight.norm(dim=1, keepdim=True)
    plain = functional.cross_entropy(s * unit @ rows.T, labels, reduction="none")
    torch.testing.assert_close(am_softmax_loss(layer(features), labels, s, 0), plain)


def test_the_margin_touches_the_true_class_alone() -> None:
    """The loss is that of logits of which one, the true class's, is s m lower."""
    features, layer, labels = drawn(batch=1)
    cosines = layer(features).detach()
    for true in range(4):
        logits = 30 * cosines
        logits[0, true] -= 30 * 0.35
        expected = torch.logsumexp(logits, 1) - logits[:, true]
        loss = am_softmax_loss(cosines, torch.tensor([true]), 30, 0.35)
        torch.testing.assert_close(loss, expected)
    wider = [am_softmax_loss(layer(features), labels, 30, m) for m in (0, 0.1, 0.35)]
    assert wider[0] < wider[1] < wider[2]


def test_only_directions_count() -> None:
    features, layer, labels = drawn()
    stretched = features * torch.logspace(-3, 3, len(features), dtype=F64)[:, None]
    torch.testing.assert_close(layer(stretched), layer(features))
    with torch.no_grad():
        cosines = layer(features)
        layer.weight.mul_(17)
    torch.testing.assert_close(layer(features), cosines)
    assert am_softmax_loss(cosines, labels, 30, 0.35).shape == (7,)


@pytest.mark.parametrize(("s", "m"), [(30.0, 0.35), (1.0, 0.0)])
def test_the_gradient_numerically(s: float, m: float) -> None:
    features, layer, labels = drawn(batch=3, width=4, classes=3)

    def loss(f: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        cosines = torch.func.functional_call(layer, {"weight": w}, (f,))
        return am_softmax_loss(cosines, labels, s, m)

    weight = layer.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (features.requires_grad_(), weight))


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("sign", [1, -1])
def test_at_the_extremes_loss_and_gradient_are_finite(dtype: torch.dtype, sign: int) -> None:
    """Cosines of exactly 1 and -1, the largest s allowed."""
    layer = NormalisedLinear(3, 2).to(dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 0, 0], [-2.0, 0, 0]]))
    features = torch.tensor([[5.0 * sign, 0, 0]], dtype=dtype, requires_grad=True)
    cosines = layer(features)
    assert cosines.tolist() == [[sign, -sign]]
    for s in (30, 1000):
        loss = am_softmax_loss(layer(features), torch.tensor([0]), s, 0.35)
        loss.backward()
        expected = np.logaddexp(0, s * (0.35 - 2 * sign))
        assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-7)
        assert torch.isfinite(features.grad).all()
        assert torch.isfinite(layer.weight.grad).all()


@pytest.mark.parametrize("length", [0.0, 1e-30, SHORTEST / 2])
def test_a_zero_or_nearly_zero_vector(length: float) -> None:
    """Its cosines are (nearly) what a zero feature's are, and nothing overflows."""
    layer = NormalisedLinear(3, 2)
    features = torch.zeros(2, 3)
    features[:, 0] = length
    features.requires_grad_()
    cosines = layer(features)
    assert (cosines.abs() <= 0.5 + 1e-6).all()
    loss = am_softmax_loss(cosines, torch.tensor([0, 1]), 30, 0.35).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(features.grad).all()
    assert features.grad.abs().max() <= 2 * 30 / SHORTEST  # two unit rows pull
    if length == 0:
        assert (cosines == 0).all()
        assert loss.item() == pytest.approx(2 * np.logaddexp(0, 30 * 0.35))


def test_a_class_whose_weights_are_zero() -> None:
    layer = NormalisedLinear(3, 2)
    with torch.no_grad():
        layer.weight[1].zero_()
    loss = am_softmax_loss(layer(torch.ones(1, 3)), torch.tensor([1]), 30, 0.35)
    loss.backward()
    assert torch.isfinite(layer.weight.grad).all()
