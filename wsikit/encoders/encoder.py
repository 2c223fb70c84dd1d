"""Turn patches into features with a timm backbone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsikit.encoders.pretrained import pretrained_file
from wsikit.encoders.random_weights import SEED, draw_weights
from wsikit.encoders.registry import EncoderSpec, encoder_spec, id_prefix
from wsikit.encoders.weights import load_state, read_state
from wsikit.errors import WeightsError, nearest

IMAGENET = "imagenet"
RANDOM = "random"

PREPROCESSING = "bilinear-antialias-1"
"""Part of an encoder's identity: change it when what `forward` shows the backbone changes."""


class Encoder(nn.Module):
    """Turn RGB patches into feature vectors.

    Built in evaluation mode, with no parameter asking for a gradient. Batches of other sizes give
    the same features but for the rounding of float32 sums.

    Args:
        spec: what the encoder is.
        backbone: from (B, 3, input_px, input_px) float32 to (B, features) float32.
        weights: where the weights came from, in one word: `imagenet`, `random` or `file`.
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
            patches: (B, 3, H, W) uint8 RGB, on the encoder's device. They are resized to
                `spec.input_px` there (bilinear, antialiased); what is not square is squeezed.

        Returns:
            (B, features) float32.
        """
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


def build_encoder(name: str, weights: str) -> Encoder:
    """Build an encoder with its weights.

    Args:
        name: a name in `ENCODERS`, or `timm:` and the name of any timm backbone.
        weights: `imagenet` (timm's own, from the cache or fetched into it), `random` (untrained,
            the same on every machine), or the path of a state dict under timm's names.

    Raises:
        ConfigError: there is no such encoder.
        WeightsError: the weights are not at hand, cannot be trusted, or belong to another network.
    """
    spec = encoder_spec(name)
    if weights == IMAGENET:
        return Encoder(spec, _imagenet_backbone(spec), IMAGENET)
    backbone = _timm_backbone(spec, SEED)
    if weights == RANDOM:
        draw_weights(backbone)
        return Encoder(spec, backbone, RANDOM)
    load_state(backbone, _state_of(weights), _classifier(backbone), Path(weights).name)
    return Encoder(spec, backbone, "file")


def encoder_id(encoder: Encoder) -> str:
    """Name an encoder by what it computes, as `resnet18-random-1a2b3c4d`.

    The tail is the head of a SHA-256 over every tensor's name, shape, type and bytes, and over
    what is done to a patch first. It is fit for a file name.
    """
    digest = hashlib.sha256()
    spec = encoder.spec
    digest.update(repr((PREPROCESSING, spec.input_px, spec.mean, spec.std)).encode())
    for name, tensor in sorted(encoder.backbone.state_dict().items()):
        digest.update(repr((name, tuple(tensor.shape), str(tensor.dtype))).encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(memoryview(flat.view(torch.uint8).numpy()))
    return f"{id_prefix(spec.name)}-{encoder.weights}-{digest.hexdigest()[:8]}"


def _timm_backbone(
    spec: EncoderSpec, seed: int, state: dict[str, Tensor] | None = None
) -> nn.Module:
    """Let timm build a backbone without its classifier, from a seed or from a state dict."""
    # timm draws its start from torch's global generator: leave that as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone: nn.Module = timm.create_model(
            spec.timm_name,
            pretrained=state is not None,
            num_classes=0,
            pretrained_cfg_overlay={"state_dict": state},
        )
    return backbone


def _imagenet_backbone(spec: EncoderSpec) -> nn.Module:
    """Build a backbone with timm's own weights.

    A file whose names are older than the code goes through timm's own conversion.
    """
    config = timm.get_pretrained_cfg(spec.timm_name)
    path = pretrained_file(spec, config.hf_hub_id if config else None)
    state = read_state(path)
    backbone = _timm_backbone(spec, SEED)
    try:
        load_state(backbone, state, _classifier(backbone), path.name)
    except WeightsError as error:
        converted = _converted_backbone(spec, state)
        if converted is None:
            raise error
        return converted
    return backbone


def _converted_backbone(spec: EncoderSpec, state: dict[str, Tensor]) -> nn.Module | None:
    """Load a state dict through timm, which converts old names; None where it does not cover all.

    timm passes over a missing tensor in silence. So it is done from two seeds: a tensor that then
    differs was drawn and not loaded.
    """
    try:
        first, second = (_timm_backbone(spec, seed, dict(state)) for seed in (SEED, SEED + 1))
    except RuntimeError:  # a shape differs
        return None
    other = second.state_dict()
    loaded = all(torch.equal(tensor, other[name]) for name, tensor in first.state_dict().items())
    return first if loaded else None


def _state_of(weights: str) -> dict[str, Tensor]:
    """Read the file that `weights` names; a word that is no file may be a mistyped one."""
    path = Path(weights)
    if not path.exists() and not path.suffix:
        raise WeightsError(
            f"no weights called '{weights}'",
            f"{nearest(weights, (IMAGENET, RANDOM))} or give a file",
        )
    return read_state(path)


def _classifier(backbone: Any) -> tuple[str, ...]:
    """Return the names of the layers timm removed: those of a classifier of ImageNet's classes."""
    names = backbone.pretrained_cfg.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)
