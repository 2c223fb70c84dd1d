"""Published files are made here under their own custom's names; the network must be the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from wsikit.encoders.backbone import build_backbone, outline
from wsikit.encoders.encoder import build_encoder, encoder_id
from wsikit.encoders.registry import ENCODERS, encoder_spec
from wsikit.encoders.spec import EncoderSpec
from wsikit.encoders.tensor_names import own_names
from wsikit.encoders.weights import check_state

State = dict[str, Tensor]
TINY = EncoderSpec("tiny", "test_vit", "", None, 160)


def as_vit(state: State) -> State:
    """As transformers' own converter names a ViT."""
    out: State = {}
    for name, tensor in state.items():
        block = re.match(r"blocks\.(\d+)\.(.*)\.(weight|bias)$", name)
        if block:
            number, part, kind = block.groups()
            layer = f"encoder.layer.{number}"
            if part == "attn.qkv":
                for which, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                    out[f"{layer}.attention.attention.{which}.{kind}"] = piece
                continue
            part = {
                "norm1": "layernorm_before",
                "norm2": "layernorm_after",
                "attn.proj": "attention.output.dense",
                "mlp.fc1": "intermediate.dense",
                "mlp.fc2": "output.dense",
            }[part]
            out[f"{layer}.{part}.{kind}"] = tensor
        else:
            part = name.rpartition(".")[0] or name
            new = {
                "cls_token": "embeddings.cls_token",
                "pos_embed": "embeddings.position_embeddings",
                "patch_embed.proj": "embeddings.patch_embeddings.projection",
                "norm": "layernorm",
            }[part]
            out[name.replace(part, new)] = tensor
    return out | {"pooler.dense.weight": torch.zeros(3, 3), "pooler.dense.bias": torch.zeros(3)}


def as_vit_of_a_classifier(state: State) -> State:
    return {f"vit.{name}": tensor for name, tensor in as_vit(state).items()} | {
        "classifier.weight": torch.zeros(2, 3)
    }


def as_dinov2(state: State) -> State:
    """As transformers' own converter names a DINOv2 with SwiGLU."""
    out = {"embeddings.mask_token": torch.zeros(1, 3)}
    for name, tensor in as_vit({k: v for k, v in state.items() if ".ls" not in k}).items():
        name = name.replace("layernorm_before", "norm1").replace("layernorm_after", "norm2")
        name = name.replace("intermediate.dense", "mlp.weights_in")
        name = re.sub(r"(layer\.\d+)\.output\.dense", r"\1.mlp.weights_out", name)
        out[name] = tensor
    for name, tensor in state.items():
        if ".ls" in name:
            found = re.fullmatch(r"blocks\.(\d+)\.ls(\d)\.gamma", name)
            assert found
            out[f"encoder.layer.{found[1]}.layer_scale{found[2]}.lambda1"] = tensor
    return out


def as_conch(state: State) -> State:
    """A model of pictures and text, of which the vision tower is a part."""
    return {f"visual.{name}": tensor for name, tensor in state.items()} | {
        "visual.proj_contrast": torch.zeros(3, 3),
        "visual.attn_pool_caption.query": torch.zeros(256, 3),
        "text.positional_embedding": torch.zeros(3),
        "logit_scale": torch.zeros(()),
    }


def as_trunk_alone(state: State) -> State:
    return {name.removeprefix("trunk."): tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("spec", "custom"),
    [
        (TINY, as_vit),
        (TINY, as_vit_of_a_classifier),
        (replace(TINY, arguments=(("init_values", 0.1),)), as_dinov2),
        (replace(TINY, pooling="attention", features=32), as_conch),
        (replace(TINY, pooling="class+mean"), as_trunk_alone),
        (TINY, dict),
        (replace(TINY, pooling="class+mean"), dict),
    ],
)
def test_a_published_files_tensors_find_their_places(
    spec: EncoderSpec, custom: Callable[[State], State]
) -> None:
    state = build_backbone(spec, 3).state_dict()
    named = own_names(custom(dict(state)), spec)
    assert named.keys() == state.keys()
    assert all(torch.equal(named[name], state[name]) for name in state)


def test_phikons_names_fit_the_whole_network() -> None:
    spec = ENCODERS["phikon"]
    state = outline(spec, "phikon")[0].state_dict()
    check_state(outline(spec, "phikon")[0], own_names(as_vit(dict(state)), spec), (), "phikon")


def test_ctranspath_as_its_authors_saved_it(tmp_path: Path) -> None:
    # timm then kept downsampling at the end of a stage, and stored what follows from the window.
    encoder = build_encoder("ctranspath", "random")
    old = {
        re.sub(r"layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", name): t
        for name, t in encoder.backbone.state_dict().items()
    }
    assert "layers.0.downsample.reduction.weight" in old
    assert "layers.3.downsample.reduction.weight" not in old
    old["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.int64)
    old["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    path = tmp_path / "ctranspath.pth"
    torch.save({"model": old}, path)
    back = build_encoder("ctranspath", str(path))
    assert encoder_id(back) == encoder_id(encoder).replace("random", "file")


def test_a_part_of_attention_that_is_missing_is_not_made_up() -> None:
    state = build_backbone(TINY, 3).state_dict()
    file = as_vit(dict(state))
    del file["encoder.layer.0.attention.attention.key.bias"]
    named = own_names(file, TINY)
    assert "blocks.0.attn.qkv.bias" not in named
    assert "blocks.0.attn.qkv.weight" in named


def test_timms_own_names_are_left_alone() -> None:
    spec = encoder_spec("timm:test_resnet")
    state = build_backbone(spec, 3).state_dict()
    assert own_names(state, spec).keys() == state.keys()
