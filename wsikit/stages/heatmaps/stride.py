"""What a finer stride takes to know, without what it takes to compute (`restride.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wsikit.errors import ConfigError

LEAST = 8
"""The finest stride that `heatmap.stride` allows, store px."""


@dataclass(frozen=True)
class Scorer:
    """What patches are scored with.

    Attributes:
        model: the run that predicted, where scores lie elsewhere (`wsikit predict -o`).
        weights: the encoder's, where they are neither in the run nor to be had by name.
        device: where to compute.
    """

    model: Path | None = None
    weights: str | None = None
    device: str = "auto"


def checked_stride(stride: int, side: int) -> int:
    """Return a stride that patches can be read at.

    Args:
        stride: store px.
        side: of a patch, store px.

    Raises:
        ConfigError: the side is no multiple of it.
    """
    if stride > side or side % stride:
        fitting = [str(side // n) for n in (2, 4, 8, 16) if side % n == 0 and side // n >= LEAST]
        raise ConfigError(
            f"heatmap.stride is {stride}, and a patch of {side} px is no multiple of it",
            f"use one of: {', '.join(fitting)}" if fitting else "leave --stride out",
        )
    return stride


def stride_detail(stride: int, side: int) -> str:
    """Say what a score at a stride is, for the readers of files; empty where it is a patch's own.

    Args:
        stride: store px.
        side: of a patch, store px.
    """
    return "" if stride == side else f"smoothed, every {stride} px"
