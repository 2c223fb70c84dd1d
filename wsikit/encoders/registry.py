"""Which encoders there are, by the name a user writes.

Nothing here needs torch, so that names can be listed and checked at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wsikit.errors import ConfigError, nearest
from wsikit.registry import Registry

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

TIMM_PREFIX = "timm:"
"""A name with this prefix is any backbone of timm: `timm:convnext_tiny.fb_in1k`."""


@dataclass(frozen=True)
class EncoderSpec:
    """Say what an encoder is, without building it.

    Attributes:
        name: the name a user writes.
        timm_name: timm's model name, with the tag of its ImageNet weights.
        licence: licence of those weights, as timm states it; empty where it states none.
        features: width of a feature vector; None where only building the network tells.
        input_px: side in pixels of the square picture the network sees.
        mean: of R, G and B on a scale of 0 to 1, subtracted from the picture.
        std: of R, G and B on a scale of 0 to 1, by which it is then divided.
    """

    name: str
    timm_name: str
    licence: str
    features: int | None
    input_px: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


ENCODERS: Registry[EncoderSpec] = Registry("encoder")

for _spec in (
    EncoderSpec("resnet18", "resnet18.a1_in1k", "apache-2.0", 512),
    EncoderSpec("resnet50", "resnet50.a1_in1k", "apache-2.0", 2048),
    # timm's VGG without its classifier ends after the second fully connected layer and its ReLU.
    EncoderSpec("vgg16", "vgg16.tv_in1k", "bsd-3-clause", 4096),
):
    ENCODERS.register(_spec.name)(_spec)


def encoder_spec(name: str) -> EncoderSpec:
    """Return the encoder called `name`.

    Args:
        name: a name in `ENCODERS`, or `timm:` and the name of any timm backbone.

    Raises:
        ConfigError: there is none; the message names the nearest one.
    """
    if name.startswith(TIMM_PREFIX):
        return _timm_spec(name)
    if name not in ENCODERS:
        raise ConfigError(
            f"unknown encoder '{name}'",
            f"{nearest(name, ENCODERS)} (or '{TIMM_PREFIX}NAME' for any backbone of timm)",
        )
    return ENCODERS[name]


def id_prefix(name: str) -> str:
    """Return how an encoder's name stands in its id: `timm:vit_tiny` as `timm-vit_tiny`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def _timm_spec(name: str) -> EncoderSpec:
    """Read the description of a timm backbone from timm's own registry."""
    import timm  # seconds, and torch with it: only for who asks for it

    timm_name = name.removeprefix(TIMM_PREFIX)
    known = timm.list_models() + timm.list_pretrained()
    if timm_name not in known:
        fix = nearest(timm_name, known)
        # Where none is near, a thousand names are no help.
        raise ConfigError(
            f"timm has no backbone '{timm_name}'",
            fix if fix.startswith("did") else "look its name up with timm.list_models()",
        )
    config = timm.get_pretrained_cfg(timm_name)
    if config is None:
        raise ConfigError(f"timm does not say what pictures '{timm_name}' takes", "use another")
    channels, height, width = config.input_size
    if channels != 3 or height != width:
        raise ConfigError(
            f"timm's '{timm_name}' takes a {channels}-channel picture of {width}x{height}",
            "use a backbone that takes square RGB pictures",
        )
    return EncoderSpec(
        name,
        timm_name,
        config.license or "",
        None,
        height,
        _three(config.mean),
        _three(config.std),
    )


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values
    return (red, green, blue)
