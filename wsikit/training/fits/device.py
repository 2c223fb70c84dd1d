"""Where a head runs: `auto`, `cpu` or `cuda`, turned into a torch device once."""

from __future__ import annotations

import torch

from wsikit.errors import ConfigError, UsageError, nearest
from wsikit.freed_memory import keep_freed_memory
from wsikit.training.fits.options import DEVICES


def resolve_device(name: str) -> torch.device:
    """Turn a device word into a torch device, and set this process up for it.

    On the processor, memory that is freed is kept from then on; see `keep_freed_memory`.

    Args:
        name: `auto` (the GPU where there is one), `cpu` or `cuda`.

    Raises:
        ConfigError: the word is unknown.
        UsageError: `cuda` was asked for and this machine has no usable GPU.
    """
    if name not in DEVICES:
        raise ConfigError(f"unknown device '{name}'", nearest(name, DEVICES))
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("device 'cuda' was asked for but torch sees no GPU", "use --device cpu")
    if available and name != "cpu":
        return torch.device("cuda")
    keep_freed_memory()
    return torch.device("cpu")
