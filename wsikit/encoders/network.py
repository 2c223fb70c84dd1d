"""A network with what is done to a patch before it: patches in, feature vectors out."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsikit.encoders.own_networks import OWN_NETWORKS
from wsikit.encoders.registry import id_prefix
from wsikit.encoders.spec import EncoderSpec
from wsikit.errors import WeightsError

PREPROCESSING = "bilinear-antialias-1"
"""Part of an encoder's identity: change it when what `forward` shows the backbone changes."""


class Encoder(nn.Module):
    """Turn RGB patches into feature vectors.

    Built in evaluation mode, with no parameter asking for a gradient. To train it:
    ``encoder.requires_grad_(True).train()``; every parameter then gets one. Batches of other sizes
    give the same features but for the rounding of float32 sums.

    Args:
        spec: what the encoder is.
        backbone: from (B, 3, input_px, input_px) float32 to (B, features) float32.
        weights: where the weights came from, in one word: `imagenet`, `hub`, `random` or `file`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: EncoderSpec, backbone: nn.Module, weights: str) -> None:
        super().__init__()
        self.spec = spec
        self.weights = weights
        self.backbone = backbone
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()
        self.features = spec.features or self._measured_features()

    def forward(self, patches: Tensor) -> Tensor:
        """Encode patches.

        Args:
            patches: (B, 3, H, W) uint8 RGB, or float of the same range (0 to 255), on the
                encoder's device. They are resized to `spec.input_px` there (bilinear, antialiased);
                what is not square is squeezed.

        Returns:
            (B, features) float32.
        """
        if not len(patches):  # some networks cannot reshape nothing
            return patches.new_zeros((0, self.features), dtype=torch.float32)
        pixels = patches.float()  # (B, 3, H, W)
        side = (self.spec.input_px, self.spec.input_px)
        if pixels.shape[-2:] != side:
            pixels = F.interpolate(pixels, side, mode="bilinear", antialias=True)
        normalised = (pixels / 255 - self.mean) / self.std  # (B, 3, input_px, input_px)
        features: Tensor = self.backbone(normalised)  # (B, features)
        return features.float()

    def _measured_features(self) -> int:
        side = self.spec.input_px
        with torch.inference_mode():
            features = self(torch.zeros(1, 3, side, side, dtype=torch.uint8))
        if features.ndim != 2:
            raise WeightsError(
                f"{self.spec.name}: gives features of shape {tuple(features.shape)}, "
                "not one vector a patch",
                "use a backbone with global pooling",
            )
        return int(features.shape[1])


def encoder_id(encoder: Encoder) -> str:
    """Name an encoder by what it computes, as `resnet18-random-1a2b3c4d`.

    The tail is the head of a SHA-256 over every tensor's name, shape, type and bytes, and over
    what is done before and after the network. It is fit for a file name.
    """
    digest = hashlib.sha256()
    spec = encoder.spec
    facts: tuple[object, ...] = (PREPROCESSING, spec.input_px, spec.mean, spec.std)
    if spec.arguments or spec.pooling != "timm":
        facts = (*facts, spec.arguments, spec.pooling)
    if spec.timm_name in OWN_NETWORKS:  # two of them have the same tensors and use them otherwise
        facts = (*facts, spec.timm_name)
    digest.update(repr(facts).encode())
    for name, tensor in sorted(encoder.backbone.state_dict().items()):
        digest.update(repr((name, tuple(tensor.shape), str(tensor.dtype))).encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(memoryview(flat.view(torch.uint8).numpy()))
    return f"{id_prefix(spec.name)}-{encoder.weights}-{digest.hexdigest()[:8]}"
