from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from tests.training.patch_pictures import PX, tiny_network
from wsikit.errors import ConfigError
from wsikit.training.patches.network import PatchNetwork, _first_layers

PATCHES = torch.arange(4 * 3 * PX * PX).reshape(4, 3, PX, PX).remainder(256).to(torch.uint8)
LABELS = torch.tensor([0, 1, 0, 1])


def stepped(network: PatchNetwork) -> dict[str, torch.Tensor]:
    """Return the state before two training steps."""
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    network.hold_frozen()
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1.0)
    for _ in range(2):
        optimiser.zero_grad()
        network.loss(PATCHES, LABELS).mean().backward()
        optimiser.step()
    return before


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_frozen_layers_stay_to_the_bit_and_the_rest_moves(frozen: int) -> None:
    network = tiny_network(frozen=frozen, norm=True)
    before = stepped(network)
    layers = [("0.", "1."), ("3.",), ("7.",)]
    for number, prefixes in enumerate(layers):
        names = [
            n for n in before if n.startswith(tuple(f"encoder.backbone.{p}" for p in prefixes))
        ]
        same = [torch.equal(before[name], network.state_dict()[name]) for name in names]
        assert all(same) if number < frozen else not any(same)
    assert not torch.equal(before["classifier.cosines.weight"], network.classifier.cosines.weight)


def test_vgg16s_first_ten_layers_are_its_first_four_blocks() -> None:
    with torch.device("meta"):
        vgg16 = timm.create_model("vgg16", num_classes=0)
    frozen = _first_layers(vgg16, 10)
    assert list(frozen) == [m for m in vgg16.features[:24] if isinstance(m, nn.Conv2d)]
    assert len(_first_layers(vgg16, 14)) == 14
    with pytest.raises(ConfigError, match="has 15 layers: give 0 to 14"):
        _first_layers(vgg16, 15)
    with pytest.raises(ConfigError, match=r"train.patch.frozen is -1"):
        _first_layers(vgg16, -1)


def test_a_frozen_layer_does_not_freeze_what_it_contains() -> None:
    """A vision transformer's root owns its position embedding, and contains everything else."""
    vit = timm.create_model("test_vit", num_classes=0)
    frozen = _first_layers(vit, 1)
    assert frozen == (vit, vit.patch_embed.proj, vit.blocks[0].norm1)


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    network = tiny_network().eval()
    found = network.probabilities(PATCHES)
    torch.testing.assert_close(found, torch.softmax(network(PATCHES), 1).detach())
    torch.testing.assert_close(found.sum(1), torch.ones(4))
