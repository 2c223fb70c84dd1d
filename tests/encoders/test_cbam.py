"""CBAM beside the plain formula and timm's module, and where it sits in a network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from timm.layers.cbam import CbamModule

from wsikit.encoders.backbone import build_backbone
from wsikit.encoders.cbam import Cbam, CbamPooled
from wsikit.encoders.encoder import build_encoder
from wsikit.encoders.registry import encoder_spec
from wsikit.encoders.saved import read_encoder, save_encoder

CHANNELS, REDUCTION = 12, 4


@pytest.fixture
def cbam() -> Cbam:
    torch.manual_seed(0)
    return Cbam(CHANNELS, REDUCTION).eval()


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.randn(2, CHANNELS, 5, 7, generator=torch.Generator().manual_seed(1))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def by_hand(cbam: Cbam, maps: np.ndarray) -> np.ndarray:
    """Equations 1 to 4 of the source, one place after another."""
    w0 = cbam.channel.shrink.weight.detach().double().numpy()
    w1 = cbam.channel.grow.weight.detach().double().numpy()
    kernel = cbam.spatial.conv.weight.detach().double().numpy()[0]
    _, height, width = maps.shape

    def mlp(pooled: np.ndarray) -> np.ndarray:
        return w1 @ np.maximum(w0 @ pooled, 0)

    flat = maps.reshape(CHANNELS, -1)
    weighed = maps * sigmoid(mlp(flat.mean(1)) + mlp(flat.max(1)))[:, None, None]
    pooled = np.pad(np.stack([weighed.mean(0), weighed.max(0)]), ((0, 0), (3, 3), (3, 3)))
    places = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            places[y, x] = (kernel * pooled[:, y : y + 7, x : x + 7]).sum()
    return weighed * sigmoid(places)


def test_it_is_the_formula(cbam: Cbam, maps: torch.Tensor) -> None:
    found = cbam(maps).detach().numpy()
    for one, expected in zip(found, maps.double().numpy(), strict=True):
        np.testing.assert_allclose(one, by_hand(cbam, expected), rtol=1e-5, atol=1e-6)


def test_it_is_timms_but_for_the_norm_behind_its_convolution(
    cbam: Cbam, maps: torch.Tensor
) -> None:
    """timm follows the authors' code, which has a batch norm that the formula has not."""
    theirs = CbamModule(CHANNELS, rd_ratio=1 / REDUCTION).eval()
    with torch.no_grad():
        theirs.channel.fc1.weight.copy_(cbam.channel.shrink.weight[:, :, None, None])
        theirs.channel.fc2.weight.copy_(cbam.channel.grow.weight[:, :, None, None])
        theirs.spatial.conv.conv.weight.copy_(cbam.spatial.conv.weight)
        theirs.spatial.conv.bn.eps = 0.0  # fresh statistics: mean 0, variance 1
        torch.testing.assert_close(cbam(maps), theirs(maps))
        theirs.spatial.conv.bn.running_var.fill_(4.0)
        assert not torch.allclose(cbam(maps), theirs(maps), atol=1e-3)


def test_every_weight_gets_a_gradient(cbam: Cbam, maps: torch.Tensor) -> None:
    cbam(maps).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in cbam.parameters())


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv2_035"])
def test_a_network_with_cbam_is_the_one_without_where_cbam_does_nothing(name: str) -> None:
    """Gates held open make it the trunk itself: it sits before timm's own pooling and layers."""
    spec = encoder_spec(f"cbam:{name}")
    network = build_backbone(spec, 0).eval()
    assert isinstance(network, CbamPooled)
    pixels = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network.trunk(pixels)
        assert not torch.allclose(network(pixels), expected, rtol=1e-3)
        network.cbam.forward = lambda maps: maps
        torch.testing.assert_close(network(pixels), expected)


def test_a_transformer_is_refused() -> None:
    with pytest.raises(ValueError, match="ends in no map"):
        build_backbone(encoder_spec("cbam:test_vit"), 0)


def test_a_file_of_the_trunk_alone_starts_it_and_cbam_is_new(tmp_path) -> None:
    trunk = build_encoder("timm:test_resnet", "random")
    with torch.no_grad():
        trunk.backbone.conv1[0].weight.fill_(0.25)
    file = tmp_path / "imagenet.pth"
    torch.save(trunk.backbone.state_dict(), file)
    state = build_encoder("cbam:test_resnet", str(file)).backbone.state_dict()
    own = build_backbone(encoder_spec("cbam:test_resnet"), 20240229).state_dict()
    for name, tensor in state.items():
        short = name.removeprefix("trunk.")
        there = own[name] if name.startswith("cbam.") else trunk.backbone.state_dict()[short]
        assert torch.equal(tensor, there), name


def test_saved_and_read_it_is_the_same_network(tmp_path) -> None:
    encoder = build_encoder("cbam:test_resnet", "random")
    save_encoder(tmp_path / "encoder.safetensors", encoder)
    again = read_encoder(tmp_path)
    patches = torch.randint(0, 256, (2, 3, 40, 60), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(encoder(patches), again(patches))
