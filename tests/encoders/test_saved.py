from __future__ import annotations

import json
import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from wsikit.encoders import registry
from wsikit.encoders.backbone import build_backbone
from wsikit.encoders.encoder import Encoder, build_encoder, encoder_id
from wsikit.encoders.random_weights import draw_weights
from wsikit.encoders.recognise import recognised
from wsikit.encoders.registry import ENCODERS, encoder_spec
from wsikit.encoders.saved import read_encoder, save_encoder
from wsikit.encoders.saved_header import MARKER
from wsikit.encoders.spec import EncoderSpec
from wsikit.errors import UsageError, WeightsError
from wsikit.registry import Registry

SMALL = "timm:test_resnet"


def made(spec: EncoderSpec) -> Encoder:
    backbone = build_backbone(spec, 5)
    draw_weights(backbone)
    return Encoder(spec, backbone, "random")


def some_encoders() -> list[EncoderSpec]:
    resnet, vit = encoder_spec(SMALL), encoder_spec("timm:test_vit")
    return [
        resnet,
        replace(resnet, input_px=96, mean=(0.7, 0.5, 0.6), std=(0.1, 0.2, 0.3)),
        replace(vit, input_px=96, arguments=(("img_size", 96), ("reg_tokens", 2))),
        replace(vit, pooling="class+mean"),
        replace(vit, pooling="attention", features=32),
        replace(vit, arguments=(("mlp_layer", "SwiGLUPacked"), ("act_layer", "silu"))),
    ]


@pytest.mark.parametrize("spec", some_encoders())
def test_a_saved_encoder_comes_back_as_it_was(tmp_path: Path, spec: EncoderSpec) -> None:
    encoder = made(spec)
    path = tmp_path / "mine.safetensors"
    save_encoder(path, encoder)
    back = read_encoder(path)
    patches = torch.randint(0, 256, (2, 3, 100, 100)).to(torch.uint8)
    with torch.inference_mode():
        assert torch.equal(back(patches), encoder(patches))
    assert back.features == encoder.features
    assert back.spec.name == "mine"
    for key in ("timm_name", "licence", "input_px", "mean", "std", "arguments", "pooling"):
        assert getattr(back.spec, key) == getattr(spec, key)
    assert encoder_id(back).split("-")[-1] == encoder_id(encoder).split("-")[-1]
    assert not back.training
    assert not any(parameter.requires_grad for parameter in back.parameters())


def test_a_run_is_an_encoder_by_its_path(tmp_path: Path) -> None:
    run = tmp_path / "am-softmax"
    encoder = made(encoder_spec(SMALL))
    save_encoder(run / "encoder.safetensors", encoder)
    names = (f"file:{run}", f"file:{run}/encoder.safetensors")
    built = [
        build_encoder(name, weights) for name in names for weights in ("imagenet", "pretrained")
    ]
    assert {encoder_id(each) for each in built} == {
        encoder_id(encoder).replace("timm-test_resnet-random", "am-softmax-file")
    }
    assert encoder_spec(names[0]) == encoder_spec(names[1])


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    encoder = build_encoder(SMALL, "random")
    for name in ("a", "b"):
        save_encoder(tmp_path / name / "encoder.safetensors", encoder)
    a, b = ((tmp_path / name / "encoder.safetensors").read_bytes() for name in ("a", "b"))
    assert a == b
    assert str(tmp_path).encode() not in a


def test_a_trained_encoder_is_saved_with_what_it_learnt(tmp_path: Path) -> None:
    encoder = build_encoder(SMALL, "random")
    encoder.requires_grad_(True).train()
    encoder(torch.randint(0, 256, (4, 3, 64, 64)).to(torch.uint8)).sum().backward()
    torch.optim.SGD(encoder.parameters(), lr=0.1).step()
    save_encoder(tmp_path / "e.safetensors", encoder)
    assert encoder.training  # left as it was
    back = read_encoder(tmp_path / "e.safetensors").backbone.state_dict()
    assert all(torch.equal(back[k], v) for k, v in encoder.backbone.state_dict().items())


def test_weights_of_half_precision_are_loaded(tmp_path: Path) -> None:
    encoder = build_encoder(SMALL, "random")
    encoder.backbone.half()
    save_encoder(tmp_path / "e.safetensors", encoder)
    assert read_encoder(tmp_path / "e.safetensors").features == encoder.features


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        save_encoder(tmp_path / "file" / "e.safetensors", build_encoder(SMALL, "random"))


def test_other_weights_beside_a_file_are_refused(tmp_path: Path) -> None:
    save_encoder(tmp_path / "e.safetensors", build_encoder(SMALL, "random"))
    with pytest.raises(WeightsError, match="brings its own weights"):
        build_encoder(f"file:{tmp_path}/e.safetensors", "random")


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        build_encoder(f"file:{path}")
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    assert len(message) < 500
    return message


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "e.safetensors"
    save_encoder(path, build_encoder("timm:test_vit", "random"))
    return path


def about(path: Path) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        return dict(json.loads(file.metadata()[MARKER]))


def rewrite(path: Path, table: object) -> None:
    save_file(load_file(path), path, {MARKER: json.dumps(table)})


def test_the_header_says_what_it_is(saved: Path) -> None:
    table = about(saved)
    assert table["version"] == 1
    assert table["wsikit"]
    assert table["spec"] == {
        "name": "timm:test_vit",
        "timm_name": "test_vit",
        "licence": "apache-2.0",
        "features": 64,
        "input_px": 160,
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "arguments": [],
        "pooling": "timm",
    }


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("timm_name", "test_vitt", "timm has no backbone"),
        ("timm_name", "hf-hub:someone/else", "timm has no backbone"),
        ("timm_name", "test_vit.no_such_tag", "cannot build"),
        ("timm_name", 3, "timm_name"),
        ("timm_name", "test_resnet", "gives 96"),
        ("features", 65, "65 features"),
        ("features", None, "features"),
        ("input_px", 0, "input_px"),
        ("input_px", 10**9, "input_px"),
        ("input_px", True, "input_px"),
        ("input_px", 3, "cannot build"),
        ("mean", [0.5, 0.5], "mean"),
        ("mean", [0.5, 0.5, None], "mean"),
        ("std", [0.5, 0.0, 0.5], "std"),
        ("std", [0.5, float("nan"), 0.5], "std"),
        ("licence", "x" * 10_000, "licence"),
        ("pooling", "sum", "pooling"),
        ("pooling", ["timm"], "pooling"),
        ("pooling", "class+mean", "features"),
        ("arguments", 3, "arguments"),
        ("arguments", [["img_size"]], "arguments"),
        ("arguments", [["checkpoint_path", "/etc/passwd"]], "checkpoint_path"),
        ("arguments", [["features_only", True]], "features_only"),
        ("arguments", [["pretrained", True]], "pretrained"),
        ("arguments", [["img_size", 10**7]], "img_size"),
        ("arguments", [["img_size", 16000]], "pos_embed"),
        ("arguments", [["depth", 10**5]], "depth"),
        ("arguments", [["embed_dim", 16000]], ""),
        ("arguments", [["depth", {"a": 1}]], "depth"),
        ("arguments", [["mlp_ratio", 10**400]], "mlp_ratio"),
        ("arguments", [["no_such", 1]], "no_such"),
        ("arguments", [["act_layer", "no_such"]], "cannot build"),
        ("arguments", [["patch_size", 0]], "cannot build"),
        ("arguments", [["output_stride", 8]], "cannot build"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(
    saved: Path, key: str, value: object, word: str
) -> None:
    table = about(saved)
    table["spec"][key] = value
    rewrite(saved, table)
    assert word in refused(saved)


@pytest.mark.parametrize(
    "table",
    [3, [], {}, {"version": 1}, {"version": 1, "spec": []}, {"version": 2}, {"version": "1"}],
)
def test_a_foreign_header_is_refused(saved: Path, table: object) -> None:
    rewrite(saved, table)
    refused(saved)


@pytest.mark.parametrize("key", ["timm_name", "features", "arguments", "std"])
def test_a_header_without_a_key_is_refused(saved: Path, key: str) -> None:
    table = about(saved)
    del table["spec"][key]
    rewrite(saved, table)
    assert f"no {key}" in refused(saved)


def test_a_later_form_names_the_way_out(saved: Path) -> None:
    rewrite(saved, about(saved) | {"version": 7})
    assert "form 7" in refused(saved)


def test_tensors_of_another_network_are_named(saved: Path) -> None:
    table = about(saved)
    state = load_file(saved)
    name = "blocks.0.attn.qkv.weight"
    for changed, word in (
        ({k: v for k, v in state.items() if k != name}, f"1 missing: {name}"),
        (state | {"more": torch.zeros(1)}, "1 not known: more"),
        (state | {name: torch.zeros(3, 3)}, f"1 of another shape: {name} (3, 3) for (192, 64)"),
        (state | {name: torch.full((192, 64), torch.inf)}, f"'{name}' is not finite"),
    ):
        save_file(changed, saved, {MARKER: json.dumps(table)})
        assert word in refused(saved)


def test_a_file_cut_anywhere_is_refused(saved: Path) -> None:
    whole = saved.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for length in (0, 1, 7, 8, 9, header - 1, header, header + 1, len(whole) - 1):
        saved.write_bytes(whole[:length])
        refused(saved)


def test_a_mutated_header_is_refused_or_harmless(saved: Path) -> None:
    whole = saved.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    generator = random.Random(0)
    accepted = 0
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(generator.randint(1, 3)):
            content[generator.randrange(end)] = generator.randrange(256)
        saved.write_bytes(content)
        with suppress(WeightsError):
            read_encoder(saved)
            accepted += 1
    assert accepted < 30


def test_tensors_alone_are_recognised_where_one_encoder_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few: Registry[EncoderSpec] = Registry("encoder")
    for name in ("resnet18", "resnet50", "vgg16", "phikon"):
        few.register(name)(ENCODERS[name])
    monkeypatch.setattr(registry, "ENCODERS", few)
    encoder = build_encoder("resnet18", "random")
    path = tmp_path / "mine.safetensors"
    save_file(encoder.backbone.state_dict(), path)
    back = build_encoder(f"file:{path}")
    assert encoder_id(back) == encoder_id(encoder).replace("resnet18-random", "mine-file")
    assert back.spec == replace(ENCODERS["resnet18"], name="mine")


@pytest.mark.parametrize(
    ("known", "word"),
    [
        ([ENCODERS["resnet18"]], "fits no encoder"),
        ([replace(encoder_spec(SMALL), name=name) for name in ("one", "two")], "fits one and two"),
    ],
)
def test_tensors_of_no_encoder_or_of_several_are_refused(
    tmp_path: Path, known: list[EncoderSpec], word: str
) -> None:
    path = tmp_path / "mine.safetensors"
    save_file(build_encoder(SMALL, "random").backbone.state_dict(), path)
    with pytest.raises(WeightsError, match=f"{word} .*--encoder"):
        recognised(path, known)


@pytest.mark.parametrize("name", ["none", "none.safetensors", "none.pt"])
def test_a_path_that_is_not_there(tmp_path: Path, name: str) -> None:
    assert "no such file" in refused(tmp_path / name)


def test_a_folder_without_an_encoder(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"encoder\.safetensors: no such file"):
        build_encoder(f"file:{tmp_path}")
