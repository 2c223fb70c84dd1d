"""Which devices a user means, each of which computes slides of its own."""

from __future__ import annotations

import re

import torch

from wsikit.errors import UsageError
from wsikit.training.fits.device import resolve_device

_NUMBERED = re.compile(r"cuda:(\d{1,3})")


def resolve_devices(words: str) -> list[torch.device]:
    """Turn a user's words into devices.

    Args:
        words: `auto` (every GPU there is, else the processor), `cpu`, `cuda` (every GPU), one GPU
            as `cuda:1`, or several of these between commas. A device named twice computes two
            slides at a time.

    Raises:
        ConfigError: a word is unknown.
        UsageError: there is no such GPU.
    """
    return [device for word in words.split(",") for device in _devices(word.strip())]


def _devices(word: str) -> list[torch.device]:
    numbered = _NUMBERED.fullmatch(word)
    kind = resolve_device("cuda" if numbered else word).type
    if kind == "cpu":
        return [torch.device("cpu")]
    count = torch.cuda.device_count()
    if numbered is None:
        return [torch.device("cuda", index) for index in range(count)]
    index = int(numbered[1])
    if index >= count:
        raise UsageError(
            f"device '{word}' was asked for but torch sees {count} GPUs",
            f"the last one is cuda:{count - 1}",
        )
    return [torch.device("cuda", index)]
