"""Let timm build an encoder's network from its spec."""

from __future__ import annotations

from typing import Any

import timm
import torch
from timm.layers.mlp import SwiGLUPacked
from torch import Tensor, nn

from wsikit.encoders.cbam import CbamPooled
from wsikit.encoders.conv_stem import ConvStem
from wsikit.encoders.own_networks import OWN_NETWORKS
from wsikit.encoders.pooling import AttentionPooled, ClassAndMean
from wsikit.encoders.spec import EncoderSpec
from wsikit.encoders.umae.cross_convolution import CrossConvolution
from wsikit.encoders.umae.embed import SinCosEmbed
from wsikit.encoders.umae.sizes import CROSS_CONVOLUTION, SIN_COS_EMBED
from wsikit.errors import WeightsError

LAYERS: dict[str, Any] = {
    "SwiGLUPacked": SwiGLUPacked,
    "ConvStem": ConvStem,
    CROSS_CONVOLUTION: CrossConvolution,
    SIN_COS_EMBED: SinCosEmbed,
}
"""Layers that an argument names; timm itself knows activations and norms by name."""

ARGUMENTS = frozenset(
    (
        "act_layer", "always_partition", "attn_layer", "base_width", "block_size",
        "cardinality", "class_token", "conv_mlp", "depth", "depths", "dims",
        "dynamic_img_pad", "dynamic_img_size", "embed_dim", "embed_layer", "fc_norm",
        "final_norm", "fix_init", "global_pool", "head_dim", "head_hidden_size",
        "head_init_scale", "img_size", "init_values", "layers", "ls_init_value",
        "mlp_layer", "mlp_ratio", "no_embed_class", "norm_layer", "num_heads",
        "num_reg_tokens", "output_stride", "patch_size", "pool_include_prefix", "pos_embed",
        "pre_norm", "proj_bias", "qk_norm", "qkv_bias", "qkv_fused", "ref_feat_shape",
        "reg_tokens", "rope_temperature", "rope_type", "scale_attn_inner",
        "scale_attn_norm", "scale_mlp", "scale_mlp_norm", "stem_type", "stem_width",
        "strict_img_size", "swiglu_mlp", "use_abs_pos_emb", "use_fc_norm", "use_post_norm",
        "use_rot_pos_emb", "weight_init", "window_size",
    )
)  # fmt: skip
"""What a file from elsewhere may tell timm. timm's factory also takes paths and addresses."""

ATTENTION_FEATURES = 512
"""Width of a vector pooled by attention, where nothing says another."""

LARGEST_ARGUMENT = 16384
DEEPEST = 200

NOT_BUILT = (
    AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError,
    ZeroDivisionError,
)  # fmt: skip
"""What timm's constructors raise at arguments that do not fit together."""


def build_backbone(
    spec: EncoderSpec, seed: int, state: dict[str, Tensor] | None = None
) -> nn.Module:
    """Build a network without its classifier, from a seed or from a state dict.

    Args:
        spec: the encoder.
        seed: of what timm draws; torch's global generator is left as it was.
        state: tensors under older names of timm's, which timm itself converts and loads.

    Raises:
        RuntimeError: a shape in `state` is not the network's.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = _trunk(spec, state)
        if spec.pooling == "class+mean":
            return ClassAndMean(backbone)
        if spec.pooling == "attention":
            return AttentionPooled(backbone, spec.features or ATTENTION_FEATURES)
        if spec.pooling == "cbam":
            return CbamPooled(backbone, spec.input_px)
        return backbone


def _trunk(spec: EncoderSpec, state: dict[str, Tensor] | None) -> nn.Module:
    if spec.timm_name in OWN_NETWORKS:
        return OWN_NETWORKS[spec.timm_name]()
    trunk: nn.Module = timm.create_model(
        spec.timm_name,
        pretrained=state is not None,
        num_classes=0,
        pretrained_cfg_overlay={"state_dict": state},
        **{key: LAYERS.get(str(value), value) for key, value in spec.arguments},
    )
    return trunk


def without_memory(spec: EncoderSpec) -> nn.Module:
    """Build a network on torch's meta device: its tensors have names and shapes, and no values."""
    with torch.device("meta"):
        return build_backbone(spec, 0).eval()


def outline(spec: EncoderSpec, source: str) -> tuple[nn.Module, int]:
    """Build a network that takes no memory, and measure the width of its features.

    What a file says of a network is first tried so: a lie then costs nothing.

    Args:
        spec: from a file, not trusted.
        source: the file's name, for messages.

    Returns:
        The network on torch's meta device, and its width.

    Raises:
        WeightsError: there is no such network.
    """
    fix = "take an encoder saved by this version of wsikit, or one that timm knows"
    problem = _argument_problem(spec)
    if problem:
        raise WeightsError(f"{source}: {problem}", fix)
    known = spec.timm_name in OWN_NETWORKS or timm.is_model(spec.timm_name.partition(".")[0])
    if not known:
        raise WeightsError(f"{source}: timm has no backbone '{spec.timm_name}'", fix)
    try:
        with torch.device("meta"), torch.inference_mode():
            network = without_memory(spec)
            features = network(torch.zeros(1, 3, spec.input_px, spec.input_px))
    except NOT_BUILT as error:
        raise WeightsError(
            f"{source}: timm cannot build its '{spec.timm_name}' for pictures of "
            f"{spec.input_px} px ({str(error) or type(error).__name__})",
            fix,
        ) from error
    if features.ndim != 2:
        raise WeightsError(f"{source}: '{spec.timm_name}' gives not one vector a patch", fix)
    return network, int(features.shape[1])


def _argument_problem(spec: EncoderSpec) -> str:
    for key, value in spec.arguments:
        if key not in ARGUMENTS:
            return f"'{key}' is no argument that wsikit hands to timm"
        numbers = value if isinstance(value, tuple) else (value,)
        largest = DEEPEST if key in ("depth", "depths", "layers") else LARGEST_ARGUMENT
        if any(isinstance(n, int | float) and abs(n) > largest for n in numbers):
            return f"'{key}' is {value}, larger than any network's"
    return ""


def classifier_layers(backbone: Any) -> tuple[str, ...]:
    """Return the names of the layers timm removed: those of a classifier of ImageNet's classes."""
    names = getattr(backbone, "pretrained_cfg", {}).get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)
