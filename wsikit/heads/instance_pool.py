"""Make one score of a slide from those of its patches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wsikit.errors import ConfigError, nearest

POOLS = ("mean", "max", "top")


@dataclass(frozen=True)
class InstancePool:
    """Average the patches that are most likely positive, or all.

    A patch's order is by how unlikely it is to be of the first class, the negative one.

    Attributes:
        pool: `mean` averages all patches, `max` takes the most positive one, `top` averages a share
            of the slide's patches, the most positive ones.
        top: that share, above 0, up to 1; at least one patch is taken.

    Raises:
        ConfigError: a value is out of range.
    """

    pool: str = "top"
    top: float = 0.1

    def __post_init__(self) -> None:
        if self.pool not in POOLS:
            raise ConfigError(f"pool is {self.pool!r}", nearest(str(self.pool), POOLS))
        if (
            isinstance(self.top, bool)
            or not isinstance(self.top, int | float)
            or not 0 < self.top <= 1
        ):
            raise ConfigError(f"top is {self.top!r}", "give a number above 0, up to 1")

    def shares(self, probabilities: Tensor) -> Tensor:
        """Return the part of each patch in the slide's score.

        Args:
            probabilities: (N, C) floats, N >= 1.

        Returns:
            (N,) of the same type, summing to one: one over the number of patches taken, or 0.
        """
        count = len(probabilities)
        taken = {"mean": count, "max": 1, "top": max(1, round(self.top * count))}[self.pool]
        chosen = torch.topk(-probabilities[:, 0], taken).indices  # (taken,)
        shares = probabilities.new_zeros(count)
        shares[chosen] = 1 / taken
        return shares

    def pooled(self, probabilities: Tensor) -> Tensor:
        """Return the slide's (C,) float32 probabilities, from the (N, C) of its patches."""
        exact = probabilities.double()
        return (self.shares(exact) @ exact).float()
