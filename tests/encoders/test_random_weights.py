from __future__ import annotations

import math

import pytest
import timm
import torch
from timm.models.xception import SeparableConv2d
from torch import nn

from wsikit.encoders.random_weights import CENTRED_RELU_GAIN, draw_weights


def test_each_output_sums_to_zero_with_the_variance_meant() -> None:
    layer = nn.Conv2d(64, 200, 3)
    draw_weights(layer)
    rows = layer.weight.detach().double().flatten(1)
    assert rows.sum(1).abs().max() < 1e-5
    assert rows.var().item() == pytest.approx(CENTRED_RELU_GAIN / 576, rel=0.02)
    assert rows.unique(dim=0).shape == rows.shape
    assert layer.bias is not None
    assert not layer.bias.any()


def test_the_gain_keeps_the_variance_through_relu_layers() -> None:
    network = nn.Sequential(*(nn.Linear(1000, 1000) for _ in range(6)))
    draw_weights(network)
    values = torch.randn(50, 1000, generator=torch.Generator().manual_seed(0))
    for layer in network:
        values = layer(torch.relu(values))
    assert 0.7 < values.std().item() < 1.4


def test_so_does_the_gain_of_separable_convolutions() -> None:
    """Between their halves is no ReLU; with its gain they would make this 25 times as large."""
    layers = nn.ModuleList(SeparableConv2d(400, 400, 3, padding=1) for _ in range(6))
    draw_weights(layers)
    maps = torch.randn(1, 400, 24, 24, generator=torch.Generator().manual_seed(0))
    for layer in layers:
        maps = layer(torch.relu(maps))
    assert 0.7 < maps[:, :, 6:-6, 6:-6].std().item() < 1.4  # the edge's zeros stay out of it


def test_layers_get_weights_of_their_own() -> None:
    network = nn.Sequential(nn.Linear(30, 30), nn.Linear(30, 30))
    draw_weights(network)
    assert not torch.equal(network[0].weight, network[1].weight)


def test_blocks_drawn_piecewise_are_one_stream() -> None:
    torch.manual_seed(0)
    wide = nn.Linear(2**19 + 1, 3)  # two rows do not fit into one block
    draw_weights(wide)
    assert wide.weight.std().item() == pytest.approx(
        math.sqrt(CENTRED_RELU_GAIN / wide.in_features), rel=0.01
    )
    assert not torch.equal(wide.weight[0], wide.weight[1])


def test_a_layer_of_one_input_is_not_silenced() -> None:
    depthwise = nn.Conv2d(8, 8, 1, groups=8)
    draw_weights(depthwise)
    assert depthwise.weight.abs().min() > 0


def test_no_residual_block_is_switched_off() -> None:
    network = timm.create_model("resnet18", num_classes=0)
    assert any(
        not norm.weight.any() for norm in network.modules() if isinstance(norm, nn.BatchNorm2d)
    )
    draw_weights(network)
    assert all(norm.weight.all() for norm in network.modules() if isinstance(norm, nn.BatchNorm2d))
