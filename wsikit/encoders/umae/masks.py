"""UNM: which patches of a picture the encoder sees, and which of those are noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsikit.errors import ConfigError

CELL = 2
"""Side of the cells of which each keeps as many patches as any other."""


@dataclass(frozen=True)
class MaskOptions:
    """What is hidden.

    Attributes:
        uniform: hide evenly and add noise (UNM); False hides at random, as He et al. (2022) do, as
            many patches and without noise.
        omega: share of patches that is hidden.
        sigma: share of the patches left that noise replaces.

    Raises:
        ConfigError: a share is out of range.
    """

    uniform: bool = True
    omega: float = 0.75
    sigma: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.omega < 1:
            raise ConfigError(f"omega is {self.omega}", "use a share between 0 and 1")
        if not 0 <= self.sigma < 1:
            raise ConfigError(f"sigma is {self.sigma}", "use a share from 0 to below 1")

    def kept_shape(self, side: int) -> tuple[int, int]:
        """Return height and width of the map of the patches that are left.

        At omega = 0.75 that is one patch a cell: 12 x 12 of 23 x 23, since the odd last row and
        column make smaller cells. Other shares keep whole rows of the map, so that it stays one.

        Args:
            side: patches along a side of the picture.
        """
        width = -(-side // CELL)
        height = round(CELL**2 * (1 - self.omega) * width)
        return max(1, min(height, side**2 // width)), width

    def noised(self, side: int) -> int:
        """Count the patches that noise replaces."""
        height, width = self.kept_shape(side)
        return round(self.sigma * height * width) if self.uniform else 0


class Masks(NamedTuple):
    """What the encoder sees of B items of M pictures.

    Attributes:
        kept: (B, M, K) int64, numbers of the patches it sees, in the order of their map.
        noised: (B, M, J) int64, which of these K are noise.
        noise: (B, M, J, P) float32, what stands there, of mean 0 and spread 1 as pixels have.
    """

    kept: Tensor
    noised: Tensor
    noise: Tensor

    def to(self, device: torch.device) -> Masks:
        """Return the same on a device."""
        return Masks(*(part.to(device, non_blocking=True) for part in self))


def draw_masks(
    options: MaskOptions, side: int, length: int, maps: int, rng: np.random.Generator
) -> Masks:
    """Draw the masks of one item; those of its pictures are independent.

    Args:
        options: what is hidden.
        side: patches along a side of a picture.
        length: numbers in a patch: channels times its pixels.
        maps: pictures of the item.
        rng: decides all of it.

    Returns:
        Masks with B = 1.
    """
    height, width = options.kept_shape(side)
    count, noised = height * width, options.noised(side)
    draw = _uniform if options.uniform else _random
    kept = np.stack([draw(side, count, rng) for _ in range(maps)])
    places = np.stack([np.sort(rng.permutation(count)[:noised]) for _ in range(maps)])
    noise = rng.standard_normal((maps, noised, length), np.float32)
    return Masks(*(torch.from_numpy(part)[None] for part in (kept, places, noise)))


def _random(side: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.sort(rng.permutation(side**2)[:count])


def _uniform(side: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Keep every cell's first patch, then every cell's second, and so on; cells come at random.

    At omega = 0.75 the patches to keep are as many as the cells, so each keeps exactly one.
    """
    row, col = np.divmod(np.arange(side**2), side)
    cell = row // CELL * -(-side // CELL) + col // CELL
    order = np.lexsort((rng.random(side**2), cell))
    starts = np.searchsorted(cell[order], cell[order])
    turn = np.empty(side**2)
    turn[order] = np.arange(side**2) - starts  # 0 to 3: when in its cell a patch is chosen
    turn += rng.random(cell.max() + 1)[cell]
    kept = np.sort(np.argsort(turn)[:count])
    by_cell: NDArray[np.int64] = kept[np.argsort(cell[kept], kind="stable")]
    return by_cell


def joined(masks: list[Masks]) -> Masks:
    """Put the masks of several items together."""
    return Masks(*(torch.cat(parts) for parts in zip(*masks, strict=True)))
