from __future__ import annotations

import numpy as np
import pytest
import torch

from wsikit.errors import ConfigError
from wsikit.heads.position import raster_index, sincos_1d, sincos_2d


def by_hand(position: int, channels: int) -> list[float]:
    code = []
    for i in range(channels // 2):
        angle = position / 10000 ** (2 * i / channels)
        code += [np.sin(angle), np.cos(angle)]
    return code


def test_1d_against_the_formula() -> None:
    code = sincos_1d(torch.tensor([0, 1, 7, 100_000]), 10)
    assert code.dtype == torch.float32
    np.testing.assert_allclose(code, [by_hand(p, 10) for p in (0, 1, 7, 100_000)], atol=1e-6)


def test_2d_codes_the_row_then_the_column() -> None:
    code = sincos_2d(torch.tensor([[3, 8], [0, 2]]), 12)
    expected = [by_hand(3, 6) + by_hand(8, 6), by_hand(0, 6) + by_hand(2, 6)]
    np.testing.assert_allclose(code, expected, atol=1e-6)


def test_places_differ() -> None:
    grid = torch.cartesian_prod(torch.arange(60), torch.arange(40))
    assert len(torch.unique(sincos_2d(grid, 128), dim=0)) == len(grid)
    assert torch.equal(raster_index(grid), torch.arange(len(grid)))


@pytest.mark.parametrize("channels", [0, -2, 3])
def test_1d_needs_pairs(channels: int) -> None:
    with pytest.raises(ConfigError, match="even"):
        sincos_1d(torch.tensor([1]), channels)


@pytest.mark.parametrize("channels", [0, 2, 6, 7])
def test_2d_needs_two_pairs(channels: int) -> None:
    with pytest.raises(ConfigError, match="multiple of 4"):
        sincos_2d(torch.tensor([[1, 1]]), channels)
