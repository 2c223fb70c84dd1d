"""The suite over every encoder: whole where it fits a test, else drawn narrow and shallow."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import timm
import torch

from tests.conformance.encoder_conformance import EncoderConformance
from wsikit.encoders.backbone import build_backbone, outline
from wsikit.encoders.encoder import Encoder, build_encoder
from wsikit.encoders.mammography import MAMMOGRAPHY
from wsikit.encoders.random_weights import SEED, draw_weights
from wsikit.encoders.registry import ENCODERS
from wsikit.encoders.saved import read_encoder, save_encoder
from wsikit.encoders.spec import EncoderSpec

WHOLE = ("resnet18", "resnet50", "vgg16", "ctranspath")
CONVOLUTIONS = tuple(spec.name for spec in MAMMOGRAPHY)
"""Each is a network of timm with a change; the suite runs over small ones with those changes."""
LARGE = sorted(set(ENCODERS) - set(WHOLE) - set(CONVOLUTIONS))


class TestWholeEncoders(EncoderConformance):
    @pytest.fixture(
        scope="class",
        params=[
            *WHOLE,
            "timm:test_resnet",
            "timm:test_vit",
            "timm:test_convnext",
            "cbam:test_resnet",
            "xception_small",
            "xception_small_c",
        ],
    )
    @classmethod
    def encoder(cls, request: pytest.FixtureRequest) -> Encoder:
        return build_encoder(request.param, "random")


whole = cache(outline)


def narrow(spec: EncoderSpec) -> EncoderSpec:
    """The encoder with its own picture, tokens, layers and pooling: two blocks of width 96."""
    size = {"depth": 2, "embed_dim": 96, "num_heads": 4}
    kept = tuple(pair for pair in spec.arguments if pair[0] not in size)
    features = spec.features if spec.pooling == "attention" else None
    return replace(spec, arguments=(*kept, *size.items()), features=features)


class TestLargeEncodersDrawnNarrow(EncoderConformance):
    @pytest.fixture(scope="class", params=LARGE)
    @classmethod
    def encoder(cls, request: pytest.FixtureRequest) -> Encoder:
        spec = narrow(ENCODERS[request.param])
        backbone = build_backbone(spec, SEED)
        draw_weights(backbone)
        return Encoder(spec, backbone, "random")


class TestSavedEncoder(EncoderConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
        run: Path = tmp_path_factory.mktemp("run")
        save_encoder(run / "encoder.safetensors", build_encoder("timm:test_vit", "random"))
        return read_encoder(run)


MILLIONS = {
    "conch": 86.6 + 0.9,  # a ViT-B/16 at 448 px, and the attention pool
    "ctranspath": 27.5,
    "h-optimus-0": 1134.8,
    "h-optimus-1": 1134.8,
    "inception_v3": 21.8,
    "inception_v3_cbam": 21.8 + 0.5,
    "mobilenet_v2": 2.2,
    "phikon": 85.8,
    "prov-gigapath": 1135.0,
    "resnet18": 11.2,
    "resnet50": 23.5,
    "resnet50_cbam": 23.5 + 0.5,
    "uni": 303.4,
    "uni2-h": 681.4,
    "umae-base": 255.8,  # no paper counts it: 12 x 3 x 768 x 768 x 9 of these are convolutions
    "umae-small": 2.4,
    "vgg16": 134.3,
    "vgg16_cbam": 134.3,
    "virchow": 631.2,
    "virchow2": 631.2,
    **dict.fromkeys(("xception", "xception_a"), 20.8),
    **dict.fromkeys(("xception_b", "xception_c"), 22.5),
    **{f"xception_small{letter}": 0.2 for letter in ("", "_a", "_b", "_c")},
}
"""As the papers and pages count them, without a classifier."""


@pytest.mark.parametrize("name", list(ENCODERS))
def test_the_whole_network_has_the_width_and_the_parameters_published(name: str) -> None:
    spec = ENCODERS[name]
    network, features = whole(spec, name)
    assert features == spec.features
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count / 1e6 == pytest.approx(MILLIONS[name], abs=0.1)
    assert all(tensor.is_meta for tensor in network.state_dict().values())
    if name in LARGE:  # what the suite ran on has the same tensors, but fewer blocks
        deeper = re.compile(r"blocks\.([2-9]|\d\d)\.")
        first = {key for key in network.state_dict() if not deeper.search(key)}
        assert set(outline(narrow(spec), name)[0].state_dict()) == first


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        # 16 x 16 patches of 14 px; a class token; registers that have positions, or have not.
        ("virchow", {"pos_embed": (1, 257, 1280), "blocks.31.mlp.fc1.weight": (6832, 1280)}),
        ("virchow2", {"pos_embed": (1, 261, 1280), "reg_token": (1, 4, 1280)}),
        ("uni2-h", {"pos_embed": (1, 256, 1536), "reg_token": (1, 8, 1536)}),
        ("uni", {"pos_embed": (1, 197, 1024), "blocks.23.ls1.gamma": (1024,)}),
        ("h-optimus-0", {"pos_embed": (1, 256, 1536), "blocks.39.mlp.fc2.weight": (1536, 4096)}),
        ("prov-gigapath", {"pos_embed": (1, 197, 1536), "blocks.39.ls2.gamma": (1536,)}),
        ("conch", {
            "pos_embed": (1, 785, 768),
            "attn_pool_contrast.query": (1, 512),
            "attn_pool_contrast.attn.k_proj_weight": (512, 768),
            "ln_contrast.weight": (512,),
        }),
        ("ctranspath", {
            "patch_embed.proj.0.weight": (12, 3, 3, 3),
            "patch_embed.proj.3.weight": (24, 12, 3, 3),
            "patch_embed.proj.6.weight": (96, 24, 1, 1),
            "patch_embed.norm.weight": (96,),
        }),
    ],
)  # fmt: skip
def test_tensors_have_the_names_and_shapes_of_the_published_file(
    name: str, shapes: dict[str, tuple[int, ...]]
) -> None:
    state = {
        key.removeprefix("trunk."): tuple(tensor.shape)
        for key, tensor in whole(ENCODERS[name], name)[0].state_dict().items()
    }
    assert {key: state[key] for key in shapes} == shapes


def test_class_and_mean_leave_registers_out() -> None:
    spec = EncoderSpec(
        "tiny", "test_vit", "", None, 160,
        arguments=(("reg_tokens", 3),), pooling="class+mean",
    )  # fmt: skip
    torch.manual_seed(1)
    backbone = build_backbone(spec, 1).eval()
    picture = torch.rand(2, 3, 160, 160)
    trunk = timm.create_model("test_vit", num_classes=0, reg_tokens=3).eval()
    trunk.load_state_dict(
        {name.removeprefix("trunk."): tensor for name, tensor in backbone.state_dict().items()}
    )
    with torch.inference_mode():
        tokens = trunk.forward_features(picture)
        expected = torch.cat([tokens[:, 0], tokens[:, 4:].sum(1) / 100], dim=1)
        torch.testing.assert_close(backbone(picture), expected)


def test_attention_pooling_is_the_formula() -> None:
    spec = EncoderSpec("tiny", "test_vit", "", 32, 160, pooling="attention")
    backbone = build_backbone(spec, 1).eval()
    picture = torch.rand(2, 3, 160, 160)
    state = backbone.state_dict()

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
        return x * state[f"{name}.weight"] + state[f"{name}.bias"]

    with torch.inference_mode():
        tokens = norm(backbone.trunk.forward_features(picture), "attn_pool_contrast.ln_k")
        part = "attn_pool_contrast.attn"
        bias = state[f"{part}.in_proj_bias"].chunk(3)
        query = norm(state["attn_pool_contrast.query"], "attn_pool_contrast.ln_q")
        query = query @ state[f"{part}.q_proj_weight"].T + bias[0]  # (1, 32)
        key = tokens @ state[f"{part}.k_proj_weight"].T + bias[1]
        value = tokens @ state[f"{part}.v_proj_weight"].T + bias[2]  # (2, T, 32)
        heads = [slice(4 * head, 4 * head + 4) for head in range(8)]
        pooled = torch.cat(
            [
                ((key[..., h] @ query[0, h] / 4**0.5).softmax(1)[:, None] @ value[..., h])[:, 0]
                for h in heads
            ],
            dim=1,
        )
        pooled = pooled @ state[f"{part}.out_proj.weight"].T + state[f"{part}.out_proj.bias"]
        torch.testing.assert_close(backbone(picture), norm(pooled, "ln_contrast"))
