"""Bring the tensors of a published file under the names our network has for them.

What custom a file follows is seen from its names, so that the same file serves from the hub's cache
and from a path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from wsikit.encoders.spec import EncoderSpec

TRANSFORMERS = (
    (r"^(vit|dinov2)\.", ""),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.attention\.", ".attn."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"\.mlp\.weights_out\.", ".mlp.fc2."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"^layernorm\.", "norm."),
)
"""From Hugging Face's names of a vision transformer to timm's, in this order.

Read off that library's own converters, `convert_vit_timm_to_pytorch.py` and
`convert_dinov2_to_hf.py`, which go the other way.
"""

TRANSFORMERS_EXTRAS = ("pooler.", "classifier.", "embeddings.mask_token")
CONCH_PARTS = ("visual.trunk.", "visual.attn_pool_contrast.", "visual.ln_contrast.")


def own_names(state: Mapping[str, Tensor], spec: EncoderSpec) -> dict[str, Tensor]:
    """Return the tensors under the names of the network that `spec` builds.

    A file under timm's names is returned as it is; what the network has no use for is left out only
    where the file is of a known other kind.

    Args:
        state: tensors as the file names them.
        spec: the encoder.
    """
    if any(name.startswith("visual.trunk.") for name in state):
        named = _from_conch(state)
    elif any(name.endswith("embeddings.cls_token") for name in state):
        named = _from_transformers(state)
    elif "layers.0.downsample.reduction.weight" in state:
        named = _from_first_swin(state)
    else:
        named = dict(state)
    if spec.pooling == "class+mean" and not any(name.startswith("trunk.") for name in named):
        return {f"trunk.{name}": tensor for name, tensor in named.items()}
    return named


def _from_conch(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keep the vision tower's contrastive branch of a model of pictures and text."""
    return {
        name.removeprefix("visual."): tensor
        for name, tensor in state.items()
        if name.startswith(CONCH_PARTS)
    }


def _from_first_swin(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename as timm did when it moved downsampling to the start of the next stage.

    Tables that follow from the window's size were stored then and are computed now.
    """
    return {
        re.sub(
            r"^layers\.(\d)\.downsample\.",
            lambda found: f"layers.{int(found[1]) + 1}.downsample.",
            name,
        ): tensor
        for name, tensor in state.items()
        if not name.endswith((".relative_position_index", ".attn_mask"))
        and not name.startswith("head.")
    }


def _from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename, and join query, key and value, which timm keeps in one matrix."""
    named: dict[str, Tensor] = {}
    for name, tensor in state.items():
        new = name
        for pattern, replacement in TRANSFORMERS:
            new = re.sub(pattern, replacement, new)
        if not new.startswith(TRANSFORMERS_EXTRAS):
            named[new] = tensor
    for name in [name for name in named if ".attn.query." in name]:
        parts = [name.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
        if all(part in named for part in parts):
            named[name.replace(".query.", ".qkv.")] = torch.cat([named.pop(p) for p in parts])
    return named
