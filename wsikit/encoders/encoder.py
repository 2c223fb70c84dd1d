"""Build an encoder by its name, with weights from wherever they lie."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from wsikit.encoders.backbone import build_backbone, classifier_layers, outline
from wsikit.encoders.cbam import CbamPooled
from wsikit.encoders.hub import hub_file
from wsikit.encoders.network import Encoder, encoder_id
from wsikit.encoders.own_networks import OWN_NETWORKS
from wsikit.encoders.random_weights import SEED, draw_weights
from wsikit.encoders.registry import FILE_PREFIX, HUB_PREFIX, encoder_path, encoder_spec
from wsikit.encoders.saved import read_encoder
from wsikit.encoders.saved_header import saved_spec
from wsikit.encoders.spec import EncoderSpec
from wsikit.encoders.tensor_names import own_names
from wsikit.encoders.weights import OtherNetworkError, check_finite, load_state, read_state
from wsikit.errors import WeightsError, nearest

__all__ = ["IMAGENET", "PRETRAINED", "RANDOM", "Encoder", "build_encoder", "encoder_id"]

PRETRAINED = "pretrained"
"""The weights that an encoder's owner publishes, or that its file holds."""

IMAGENET = "imagenet"
"""The same: most of timm's networks are trained on ImageNet."""

RANDOM = "random"


def build_encoder(name: str, weights: str = PRETRAINED) -> Encoder:
    """Build an encoder with its weights.

    Args:
        name: a name in `ENCODERS`; or `timm:NAME`; or `hf-hub:OWNER/NAME`; or `file:PATH`, an
            encoder saved by a run, its folder, or a file of tensors that only one of `ENCODERS`
            has.
        weights: `pretrained` or `imagenet` (the published ones, from the cache or fetched into it;
            of `file:`, those in the file), `random` (untrained, the same on every machine), or the
            path of a state dict.

    Raises:
        ConfigError: there is no such encoder.
        WeightsError: the weights are not at hand, cannot be trusted, or belong to another network.
    """
    if name.startswith(FILE_PREFIX):
        return _from_file(name, weights)
    spec = encoder_spec(name)
    if name.startswith(HUB_PREFIX):  # somebody's description: tried before it may take memory
        spec = replace(spec, features=outline(spec, spec.hub)[1])
    if weights in (PRETRAINED, IMAGENET):
        return Encoder(spec, _published_backbone(spec), spec.published)
    if weights == RANDOM:
        backbone = build_backbone(spec, SEED)
        draw_weights(backbone)
        return Encoder(spec, backbone, RANDOM)
    path = _existing(weights)
    return Encoder(spec, _loaded_backbone(spec, read_state(path), path.name), "file")


def _from_file(name: str, weights: str) -> Encoder:
    if weights not in (PRETRAINED, IMAGENET):
        raise WeightsError(
            f"'{name}' brings its own weights, and --weights says '{weights}'",
            f"leave --weights out, or say '{PRETRAINED}' for it; to start its network anew, name "
            "that with --encoder and not the file",
        )
    path = encoder_path(name)
    if path.is_dir() or saved_spec(path):
        return read_encoder(path)
    spec = encoder_spec(name)
    return Encoder(spec, _loaded_backbone(spec, read_state(path), path.name), "file")


def _published_backbone(spec: EncoderSpec) -> nn.Module:
    if not spec.hub:
        raise WeightsError(
            f"{spec.name}: timm's weights of '{spec.timm_name}' are not on the hub",
            "use --weights FILE.safetensors or --weights random",
        )
    path = hub_file(spec.name, spec.hub, spec.hub_files, spec.gated)
    return _loaded_backbone(spec, read_state(path), path.name)


def _loaded_backbone(spec: EncoderSpec, state: dict[str, Tensor], source: str) -> nn.Module:
    """Build a backbone with the weights of a file.

    A file whose names are older than the code goes through timm's own conversion.
    """
    if spec.pooling == "cbam" and not any(name.startswith(CbamPooled.NEW) for name in state):
        whole = build_backbone(spec, SEED)  # CBAM is new; the network below it is the file's
        whole.trunk = _loaded_backbone(replace(spec, pooling="timm"), state, source)
        return whole
    backbone = build_backbone(spec, SEED)
    try:
        given = _with_new_layers(backbone, own_names(state, spec))
        load_state(backbone, given, classifier_layers(backbone), source)
    except OtherNetworkError as error:
        ours = spec.pooling != "timm" or spec.timm_name in OWN_NETWORKS
        converted = None if ours else _converted_backbone(spec, state)
        if converted is None:
            raise error
        check_finite(converted, source)
        return converted
    return backbone


def _with_new_layers(backbone: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add the layers that no published file has, as they start, where the file has none of them."""
    new: tuple[str, ...] = getattr(backbone, "NEW", ())
    if not new or any(name.startswith(new) for name in state):
        return state
    own = backbone.state_dict()
    return state | {name: tensor for name, tensor in own.items() if name.startswith(new)}


def _converted_backbone(spec: EncoderSpec, state: dict[str, Tensor]) -> nn.Module | None:
    """Load a state dict through timm, which converts old names; None where it does not cover all.

    timm passes over a missing tensor in silence. So it is done from two seeds: a tensor that then
    differs was drawn and not loaded.
    """
    try:
        with _silent_timm():
            first, second = (build_backbone(spec, seed, dict(state)) for seed in (SEED, SEED + 1))
    except RuntimeError:  # a shape differs
        return None
    other = second.state_dict()
    loaded = all(torch.equal(tensor, other[name]) for name, tensor in first.state_dict().items())
    return first if loaded else None


@contextmanager
def _silent_timm() -> Iterator[None]:
    """Keep timm from logging every name that it does not know: what does not fit is one line."""
    logger = logging.getLogger("timm")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _existing(weights: str) -> Path:
    """Return the file that `weights` names; a word that is no file may be a mistyped one."""
    path = Path(weights).expanduser()
    if not path.exists() and not path.suffix:
        raise WeightsError(
            f"no weights called '{weights}'",
            f"{nearest(weights, (PRETRAINED, IMAGENET, RANDOM))} or give a file",
        )
    return path
