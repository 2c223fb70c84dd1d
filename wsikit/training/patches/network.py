"""An encoder with a classifier on it, some of the encoder's first layers kept as they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wsikit.encoders.network import Encoder
from wsikit.errors import ConfigError
from wsikit.heads.am_softmax_classifier import PatchClassifier

COUNTED = (nn.Conv2d, nn.Linear)
"""What counts as a layer; a norm belongs to the layer before it."""


class PatchNetwork(nn.Module):
    """Score single patches, and say how wrong that is.

    Makes the encoder trainable but for its first layers.

    Args:
        encoder: pixels to features.
        classifier: features to class scores.
        frozen: how many of the encoder's convolutions and fully connected layers, counted from the
            pixels, keep their weights; a norm that follows one keeps its statistics too. Of VGG16's
            15, the first 10 are blocks 1 to 4.

    Raises:
        ConfigError: `frozen` leaves nothing of the encoder to train.
    """

    def __init__(self, encoder: Encoder, classifier: PatchClassifier, frozen: int = 0) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(True)
        self.classifier = classifier
        self._frozen = _first_layers(encoder.backbone, frozen)
        for layer in self._frozen:
            for parameter in layer.parameters(recurse=False):
                parameter.requires_grad_(False)

    def forward(self, patches: Tensor) -> Tensor:
        """Return (B, C) logits of (B, 3, H, W) uint8 patches."""
        logits: Tensor = self.classifier(self.encoder(patches))
        return logits

    def loss(self, patches: Tensor, labels: Tensor) -> Tensor:
        """Return the (B,) losses of (B, 3, H, W) uint8 patches with (B,) int64 labels."""
        return self.classifier.loss(self.encoder(patches), labels)

    def hold_frozen(self) -> None:
        """Keep frozen norms from following the batches; to be called after `train()`."""
        for layer in self._frozen:
            layer.training = False  # this layer alone: its children may be trained

    @torch.inference_mode()
    def probabilities(self, patches: Tensor) -> Tensor:
        """Return (B, C) float32, rows summing to one, on the CPU."""
        return torch.softmax(self(patches).float(), dim=-1).cpu()


def _first_layers(network: nn.Module, count: int) -> tuple[nn.Module, ...]:
    """Return the modules that own the parameters of the first `count` layers."""
    owners = [m for m in network.modules() if any(True for _ in m.parameters(recurse=False))]
    layers = sum(isinstance(owner, COUNTED) for owner in owners)
    if not 0 <= count < layers:
        raise ConfigError(
            f"train.patch.frozen is {count}, and the network has {layers} layers",
            f"give 0 to {layers - 1}",
        )
    found: list[nn.Module] = []
    seen = 0
    for owner in owners if count else []:
        seen += isinstance(owner, COUNTED)
        if seen > count:
            break
        found.append(owner)
    return tuple(found)
