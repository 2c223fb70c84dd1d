"""Read what a timm repository on the Hugging Face hub says of its network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wsikit.encoders.hub import CONFIG_FILE, hub_file
from wsikit.encoders.spec import LARGEST_PX, EncoderSpec, as_argument, positive, three
from wsikit.errors import WeightsError

LARGEST_CONFIG = 2**22
"""Bytes; a list of 21,000 classes is a tenth of it."""

NOT_THE_NETWORKS = ("num_classes", "in_chans", "pretrained")
"""Arguments that are settled here: no classifier, three channels."""

USUAL_FILES = ("model.safetensors", "pytorch_model.bin")


def hub_spec(name: str, repository: str) -> EncoderSpec:
    """Return the encoder that a repository's config.json describes, fetching that at need.

    Nothing is guessed: a file that does not say which pictures the network wants is refused. As in
    timm, only `model_args` shape the network; the `global_pool` beside them is for the reader.

    Args:
        name: what the user calls it.
        repository: `OWNER/NAME`, or `OWNER/NAME@REVISION`.

    Raises:
        WeightsError: the file is not at hand, or is not that of a timm network.
    """
    path = hub_file(name, repository, (CONFIG_FILE,))
    return config_spec(path, name, repository)


def config_spec(path: Path, name: str, repository: str) -> EncoderSpec:
    """Return the encoder that a config.json describes.

    Args:
        path: the file; not trusted.
        name: what the user calls it.
        repository: where it comes from.

    Raises:
        WeightsError: it is not that of a timm network.
    """
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError("too long")
        config = json.loads(path.read_bytes())
        return _spec(config, name, repository)
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"{name}: the config.json of '{repository}' describes no timm network ({error})",
            "use a repository whose page says `timm`, or one that wsikit encoders lists",
        ) from error


def _spec(config: Any, name: str, repository: str) -> EncoderSpec:
    if not isinstance(config, Mapping) or not isinstance(config.get("architecture"), str):
        raise ValueError("no architecture")
    # timm's first configurations hold all in one table.
    published = config.get("pretrained_cfg", config)
    arguments = config.get("model_args") or {}
    if not isinstance(published, Mapping) or not isinstance(arguments, Mapping):
        raise ValueError("no table of input size, mean and std")
    side = _side(published, arguments)
    kept = {key: value for key, value in arguments.items() if key not in NOT_THE_NETWORKS}
    if published.get("fixed_input_size") and "img_size" not in kept:
        kept["img_size"] = side
    licence = published.get("license") or ""
    return EncoderSpec(
        name=name,
        timm_name=config["architecture"],
        licence=licence if isinstance(licence, str) else "",
        features=None,
        input_px=side,
        mean=three("mean", published.get("mean")),
        std=positive("std", three("std", published.get("std"))),
        arguments=tuple((key, as_argument(key, value)) for key, value in sorted(kept.items())),
        hub=repository,
        hub_files=USUAL_FILES,
        published="hub",
    )


def _side(published: Mapping[str, Any], arguments: Mapping[str, Any]) -> int:
    size = published.get("input_size")
    if not isinstance(size, list) or len(size) != 3 or not all(isinstance(n, int) for n in size):
        raise ValueError("no input_size")
    channels, height, width = size
    if channels != 3 or height != width or not 1 <= height <= LARGEST_PX:
        raise ValueError(f"pictures of {channels} channels and {width}x{height} px")
    asked = arguments.get("img_size", height)
    if asked not in (height, [height, height]):
        raise ValueError(f"img_size {asked} beside an input_size of {height}")
    return int(height)
