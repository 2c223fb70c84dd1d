"""The classifier of method E: beside the plain formula, and its numbers of parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from wsikit.errors import ConfigError
from wsikit.heads.am_softmax_classifier import build_patch_classifier
from wsikit.heads.dense_classifier import DENSE, DenseClassifier


def with_statistics(network: torch.nn.Module) -> int:
    """Count parameters as Keras does: running means and variances among them."""
    state = network.state_dict()
    return sum(t.numel() for name, t in state.items() if not name.endswith("num_batches_tracked"))


@pytest.mark.parametrize(("width", "count"), [(2048, 2_365_953), (1280, 1_579_521)])
def test_it_has_the_sources_number_of_parameters(width: int, count: int) -> None:
    assert with_statistics(build_patch_classifier(DENSE, width, 2)) == count


def test_it_is_the_formula() -> None:
    torch.manual_seed(0)
    dense = DenseClassifier(5, 2, hidden=(4, 3)).eval()
    with torch.no_grad():
        for layer in dense.layers:
            if isinstance(layer, torch.nn.BatchNorm1d):
                layer.running_mean.uniform_()
                layer.running_var.uniform_(0.5, 2)
                layer.weight.uniform_()
    features = torch.randn(7, 5)
    x = features.double().numpy()
    for n in (0, 4):
        fc, norm = dense.layers[n], dense.layers[n + 1]
        x = x @ fc.weight.detach().double().numpy().T + fc.bias.detach().double().numpy()
        mean, var = norm.running_mean.double().numpy(), norm.running_var.double().numpy()
        x = (x - mean) / np.sqrt(var + norm.eps) * norm.weight.detach().double().numpy()
        x = np.maximum(x + norm.bias.detach().double().numpy(), 0)
    last = dense.layers[-1]
    z = x @ last.weight.detach().double().numpy()[0] + last.bias.item()
    expected = 1 / (1 + np.exp(-z))
    found = torch.softmax(dense(features), dim=1)[:, 1].detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    labels = torch.tensor([0, 1, 1, 0, 1, 0, 0])
    assert dense.loss(features, labels).mean().item() == pytest.approx(
        log_loss(labels.numpy(), expected), rel=1e-5
    )


def test_without_hidden_layers_it_is_a_logistic_regression() -> None:
    dense = DenseClassifier(6, 2, hidden=())
    assert [tuple(p.shape) for p in dense.parameters()] == [(1, 6), (1,)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hidden": [0]}, "hidden is"),
        ({"hidden": "1024"}, "hidden is"),
        ({"dropout": 1}, "dropout is 1"),
        ({"hiden": [3]}, "did you mean 'hidden'"),
    ],
)
def test_wrong_options_are_one_line(options: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_patch_classifier(DENSE, 4, 2, **options)


def test_three_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match="two classes"):
        build_patch_classifier(DENSE, 4, 3)
