"""Which encoders there are, by the name a user writes.

Nothing here needs torch, so that names can be listed and checked at once.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from wsikit.encoders.mammography import CBAM_PREFIX, MAMMOGRAPHY
from wsikit.encoders.pathology import PATHOLOGY
from wsikit.encoders.saved_header import SAVED_FILE, file_name, saved_spec
from wsikit.encoders.spec import EncoderSpec, three
from wsikit.encoders.umae.sizes import UMAE_ENCODERS
from wsikit.errors import ConfigError, nearest
from wsikit.registry import Registry

TIMM_PREFIX = "timm:"
"""A name with this prefix is any backbone of timm: `timm:convnext_tiny.fb_in1k`."""

HUB_PREFIX = "hf-hub:"
"""A name with this prefix is a timm backbone on the Hugging Face hub: `hf-hub:OWNER/NAME`."""

FILE_PREFIX = "file:"
"""A name with this prefix is a file or a run's folder: `file:runs/am-softmax`."""

ENCODERS: Registry[EncoderSpec] = Registry("encoder")

for _spec in (
    EncoderSpec("resnet18", "resnet18.a1_in1k", "apache-2.0", 512, hub="timm/resnet18.a1_in1k"),
    EncoderSpec("resnet50", "resnet50.a1_in1k", "apache-2.0", 2048, hub="timm/resnet50.a1_in1k"),
    # timm's VGG without its classifier ends after the second fully connected layer and its ReLU.
    EncoderSpec("vgg16", "vgg16.tv_in1k", "bsd-3-clause", 4096, hub="timm/vgg16.tv_in1k"),
    *MAMMOGRAPHY,
    *PATHOLOGY,
    *UMAE_ENCODERS,
):
    ENCODERS.register(_spec.name)(_spec)


def encoder_spec(name: str) -> EncoderSpec:
    """Return the encoder called `name`.

    Args:
        name: a name in `ENCODERS`; or `timm:` and the name of any timm backbone; or `cbam:` and the
            name of a convolutional one, with CBAM on its last map; or `hf-hub:` and the repository
            of one; or `file:` and an encoder saved by a run, the run's folder, or
            a file of tensors that only one of `ENCODERS` has.

    Raises:
        ConfigError: there is none; the message names the nearest one.
        WeightsError: what describes the encoder is not at hand or makes no sense.
    """
    if name.startswith(TIMM_PREFIX):
        return _timm_spec(name)
    if name.startswith(CBAM_PREFIX):
        without = _timm_spec(name.replace(CBAM_PREFIX, TIMM_PREFIX, 1))
        return replace(without, name=name, pooling="cbam")
    if name.startswith(HUB_PREFIX):
        return _hub_spec(name)
    if name.startswith(FILE_PREFIX):
        return _file_spec(name)
    if name not in ENCODERS:
        raise ConfigError(
            f"unknown encoder '{name}'",
            f"{nearest(name, ENCODERS)} (or '{TIMM_PREFIX}NAME' for any backbone of timm, "
            f"'{HUB_PREFIX}OWNER/NAME' for one on the Hugging Face hub, '{FILE_PREFIX}PATH')",
        )
    return ENCODERS[name]


def encoder_path(name: str) -> Path:
    """Return the file or folder that a `file:` name means."""
    return Path(name.removeprefix(FILE_PREFIX)).expanduser()


def id_prefix(name: str) -> str:
    """Return how an encoder's name stands in its id: `timm:vit_tiny` as `timm-vit_tiny`.

    A `file:` name stands as what the file or run is called, wherever it lies.
    """
    if name.startswith(FILE_PREFIX):
        path = encoder_path(name)
        name = file_name(path / SAVED_FILE if path.is_dir() else path)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def _hub_spec(name: str) -> EncoderSpec:
    repository = name.removeprefix(HUB_PREFIX)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", repository) or ".." in repository:
        raise ConfigError(
            f"'{repository}' is no repository of the Hugging Face hub",
            f"write {HUB_PREFIX}OWNER/NAME, or {HUB_PREFIX}OWNER/NAME@REVISION",
        )
    for spec in PATHOLOGY:  # what their config.json leaves to the reader of the model's page
        if repository.partition("@")[0].lower() == spec.hub.lower():
            return replace(spec, name=name, hub=repository)
    from wsikit.encoders.hub_config import hub_spec  # the hub's client takes a third of a second

    return hub_spec(name, repository)


def _file_spec(name: str) -> EncoderSpec:
    path = encoder_path(name)
    file = path / SAVED_FILE if path.is_dir() else path
    spec = saved_spec(file)
    if spec is None:  # tensors alone: what network they are takes torch to say
        from wsikit.encoders.recognise import recognised

        spec = recognised(file, [ENCODERS[known] for known in ENCODERS])
    return spec


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
        name=name,
        timm_name=timm_name,
        licence=config.license or "",
        features=None,
        input_px=height,
        mean=three("mean", config.mean),
        std=three("std", config.std),
        hub=config.hf_hub_id or "",
        hub_files=(config.hf_hub_filename or "model.safetensors",),
    )
