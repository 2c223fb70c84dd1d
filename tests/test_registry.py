from __future__ import annotations

import pytest

from wsikit.errors import ConfigError
from wsikit.registry import Registry


def test_a_name_is_found_and_a_wrong_one_names_the_nearest() -> None:
    registry: Registry[int] = Registry("encoder")
    registry.register("resnet18")(18)
    registry.register("vgg16")(16)
    assert registry["vgg16"] == 16
    assert list(registry) == ["resnet18", "vgg16"]
    with pytest.raises(ConfigError, match="unknown encoder 'resnet81': did you mean 'resnet18'"):
        registry["resnet81"]
    with pytest.raises(ConfigError, match="use one of: resnet18, vgg16"):
        registry["zzz"]


def test_a_name_is_taken_once() -> None:
    registry: Registry[int] = Registry("head")
    registry.register("a")(1)
    with pytest.raises(ValueError, match="twice"):
        registry.register("a")(2)


def test_a_family_answers_for_every_name_with_its_prefix() -> None:
    registry: Registry[str] = Registry("head")
    registry.register("own")("own")
    registry.register_family("far:", str.upper)
    assert registry["far:away"] == "AWAY"
    assert "far:away" in registry
    assert "farther" not in registry
    assert list(registry) == ["own"]
    with pytest.raises(ConfigError, match="use one of: far:NAME, own"):
        registry["zzz"]
