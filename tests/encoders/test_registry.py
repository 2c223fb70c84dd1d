from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm

import wsikit
from wsikit.encoders.registry import ENCODERS, encoder_spec
from wsikit.errors import ConfigError


@pytest.mark.parametrize("name", list(ENCODERS))
def test_a_spec_says_what_timm_says(name: str) -> None:
    spec = encoder_spec(name)
    config = timm.get_pretrained_cfg(spec.timm_name)
    assert config is not None
    assert config.input_size == (3, spec.input_px, spec.input_px)
    assert (config.mean, config.std) == (spec.mean, spec.std)
    assert config.license == spec.licence
    assert config.hf_hub_id


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
from wsikit.encoders.registry import ENCODERS
assert list(ENCODERS) and "torch" not in sys.modules
"""
    environment = os.environ | {"PYTHONPATH": str(Path(wsikit.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
