"""Code where a patch lies, as sines and cosines."""

from __future__ import annotations

import torch
from torch import Tensor

from wsikit.errors import ConfigError

BASE = 10_000.0


def sincos_1d(index: Tensor, channels: int) -> Tensor:
    """Code positions on a line.

    Even channel 2i is sin(p / BASE^(2i/d)), odd channel 2i + 1 the cosine of the same (Vaswani et
    al. 2017). CN115409783A (`002_29f422382f54f625.txt`) prints k / BASE^(2k/d), which does not
    depend on the patch and would add one constant to all; this is the standard reading.

    Args:
        index: (N,) integers, or floats.
        channels: width d of the code; even.

    Returns:
        (N, channels) float32.

    Raises:
        ConfigError: `channels` is not a positive even number.
    """
    if channels < 2 or channels % 2:
        raise ConfigError(
            f"a positional code cannot have {channels} channels", "give a positive even number"
        )
    exponent = torch.arange(0, channels, 2, device=index.device, dtype=torch.float64) / channels
    angle = index.to(torch.float64)[:, None] / BASE**exponent  # (N, d / 2)
    pairs = torch.stack([angle.sin(), angle.cos()], dim=2)  # (N, d / 2, 2)
    return pairs.flatten(1).float()  # (N, d)


def sincos_2d(rowcol: Tensor, channels: int) -> Tensor:
    """Code positions on a grid: half of the channels code the row, then half the column.

    Args:
        rowcol: (N, 2) integers, row and column in the slide's grid.
        channels: width of the code; divisible by 4.

    Returns:
        (N, channels) float32.

    Raises:
        ConfigError: `channels` is not a positive multiple of 4.
    """
    if channels < 4 or channels % 4:
        raise ConfigError(
            f"a positional code of rows and columns cannot have {channels} channels",
            "give a positive multiple of 4",
        )
    half = channels // 2
    return torch.cat([sincos_1d(rowcol[:, 0], half), sincos_1d(rowcol[:, 1], half)], dim=1)


def raster_index(rowcol: Tensor) -> Tensor:
    """Number the places of a grid row by row.

    Args:
        rowcol: (N, 2) integers, row and column; the grid is as wide as its last column here.

    Returns:
        (N,) integers.
    """
    return rowcol[:, 0] * (rowcol[:, 1].max() + 1) + rowcol[:, 1]
