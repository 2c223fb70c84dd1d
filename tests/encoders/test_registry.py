from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import timm

import wsikit
from wsikit.encoders.registry import ENCODERS, encoder_spec, id_prefix
from wsikit.errors import ConfigError


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg16"])
def test_a_spec_says_what_timm_says(name: str) -> None:
    spec = encoder_spec(name)
    config = timm.get_pretrained_cfg(spec.timm_name)
    assert config is not None
    assert config.input_size == (3, spec.input_px, spec.input_px)
    assert (config.mean, config.std) == (spec.mean, spec.std)
    assert config.license == spec.licence
    assert config.hf_hub_id == spec.hub


def test_unknown_encoder_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'resnet81': did you mean 'resnet18'.*timm:NAME"):
        encoder_spec("resnet81")


def test_timm_backbone_by_name_and_tag() -> None:
    spec = encoder_spec("timm:test_vit.r160_in1k")
    assert (spec.timm_name, spec.input_px, spec.mean) == (
        "test_vit.r160_in1k",
        160,
        (0.5, 0.5, 0.5),
    )
    assert encoder_spec("timm:test_vit").input_px == 160


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("timm:convnext_tinny", "did you mean 'convnext_tiny'"),
        ("timm:resnet18.a1_in1kk", "did you mean 'resnet18.a1_in1k'"),
        ("timm:", "list_models"),
        ("timm:zzzzzzzz", "list_models"),
    ],
)
def test_unknown_timm_backbone(name: str, fix: str) -> None:
    with pytest.raises(ConfigError, match=r"timm has no backbone") as caught:
        encoder_spec(name)
    assert fix in str(caught.value)
    assert len(str(caught.value)) < 150


def test_names_are_known_without_torch() -> None:
    code = """
import sys
from wsikit.encoders.listing import list_encoders
assert list_encoders([]) and not {"torch", "timm"} & set(sys.modules)
"""
    environment = os.environ | {"PYTHONPATH": str(Path(wsikit.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.parametrize("name", ["hf-hub:MahmoodLab/UNI", "hf-hub:mahmoodlab/uni@main"])
def test_a_repository_of_the_table_keeps_what_its_page_says(name: str) -> None:
    spec = encoder_spec(name)
    assert replace(spec, name="uni", hub="MahmoodLab/UNI") == ENCODERS["uni"]
    assert spec.hub == name.removeprefix("hf-hub:")


@pytest.mark.parametrize("rest", ["", "uni", "a/b/c", "../x", "a/..", "a/b@", "a b/c", "-/"])
def test_what_is_no_repository(rest: str) -> None:
    with pytest.raises(ConfigError, match="OWNER/NAME"):
        encoder_spec(f"hf-hub:{rest}")


def test_an_id_names_a_file_by_what_it_is_called(tmp_path: Path) -> None:
    run = tmp_path / "am softmax"
    run.mkdir()
    assert id_prefix(f"file:{run}") == "am-softmax"
    assert id_prefix(f"file:{run}/encoder.safetensors") == "am-softmax"
    assert id_prefix("file:weights/vgg.safetensors") == "vgg"
    assert id_prefix("hf-hub:MahmoodLab/UNI") == "hf-hub-MahmoodLab-UNI"
