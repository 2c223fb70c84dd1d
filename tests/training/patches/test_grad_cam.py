"""Grad-CAM beside the formula, and where it looks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.training.patch_pictures import SPEC
from wsikit.encoders.encoder import build_encoder
from wsikit.encoders.network import Encoder
from wsikit.errors import ConfigError
from wsikit.heads.dense_classifier import DenseClassifier
from wsikit.training.patches.grad_cam import grad_cam, last_map
from wsikit.training.patches.network import PatchNetwork


@pytest.fixture
def network() -> PatchNetwork:
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    encoder = Encoder(SPEC, backbone, "random")
    return PatchNetwork(encoder, DenseClassifier(6, 2, hidden=[5])).eval()


def test_it_is_the_formula(network: PatchNetwork) -> None:
    """Channels weighed by their mean slope; what speaks against the class is cut off."""
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    encoder = network.encoder
    maps = encoder.backbone[:3]((pixels / 255 - encoder.mean) / encoder.std).detach()
    maps.requires_grad_(True)
    for target, sign in ((1, 1), (0, -1)):
        logits = network.classifier(encoder.backbone[3:](maps))
        slopes = torch.autograd.grad(sign * (logits[:, 1] - logits[:, 0]).sum(), maps)[0]
        cam = functional.relu((slopes.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True))
        large = functional.interpolate(cam, (16, 16), mode="bilinear")[:, 0].detach().numpy()
        top = large.max(axis=(1, 2), keepdims=True)
        expected = np.divide(large, top, out=np.zeros_like(large), where=top > 0)
        np.testing.assert_allclose(grad_cam(network, pixels, target), expected, atol=1e-5)


def test_it_leaves_the_network_as_it_was(network: PatchNetwork) -> None:
    network.encoder.requires_grad_(False)
    before = [p.requires_grad for p in network.parameters()]
    grad_cam(network, torch.zeros(1, 3, 16, 16, dtype=torch.uint8), 1)
    assert [p.requires_grad for p in network.parameters()] == before
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "last"), [("cbam:test_resnet", "cbam"), ("xception_small_b", "se4"),
                       ("xception_small", "act4")],
)  # fmt: skip
def test_it_looks_behind_the_attention(name: str, last: str) -> None:
    backbone = build_encoder(name, "random").backbone
    assert last_map(backbone, 75) is backbone.get_submodule(last)


def test_a_network_without_maps_is_one_line() -> None:
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 5))
    with pytest.raises(ConfigError, match="no feature map"):
        last_map(backbone, 8)
