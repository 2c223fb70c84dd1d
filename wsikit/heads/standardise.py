"""Bring features of any encoder to one scale."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from wsikit.errors import WsikitError

NOISE = 1e-6
"""A feature that varies by less than this share of its mean is constant but for rounding."""


class Standardise(nn.Module):
    """Subtract each feature's mean and divide by its standard deviation, both of the training bags.

    Encoders differ by orders of magnitude in the scale of their features, and untrained ones may
    have means larger than their spread. A feature that is constant over the training bags gives 0.
    The identity until `fit` is called; saved and loaded with the head.

    Args:
        features: width D of a feature vector.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def forward(self, features: Tensor) -> Tensor:
        """Standardise (N, D) features, float32 or float16; float32 out."""
        # In place, since memory not yet touched is what costs here; the copy is our own.
        own = features.to(torch.float32, copy=True)
        return own.sub_(self.mean).mul_(self.scale)

    @torch.no_grad()
    def fit(self, bags: Iterable[Tensor]) -> None:
        """Measure mean and standard deviation over all patches of the training bags.

        One pass, one bag in memory at a time, in float64 (the pairwise update of Chan, Golub &
        LeVeque 1983).

        Args:
            bags: (N, D) features of each training slide, N may differ; of no other slide.

        Raises:
            WsikitError: there is no patch, a bag has another width, or a feature is not finite.
        """
        count = 0
        mean = torch.zeros_like(self.mean, dtype=torch.float64)
        squares = torch.zeros_like(mean)
        for number, bag in enumerate(bags):
            if bag.ndim != 2 or bag.shape[1] != len(mean):
                raise WsikitError(
                    f"training bag {number} has features of shape {tuple(bag.shape)}, "
                    f"not (N, {len(mean)})",
                    "use bags of the encoder this head was built for",
                )
            if not len(bag):
                continue
            bag = bag.to(mean.device, torch.float64)
            total = count + len(bag)
            own_mean = bag.mean(dim=0)
            apart = own_mean - mean
            squares += (bag - own_mean).square().sum(dim=0)
            squares += apart.square() * (count * len(bag) / total)
            mean += apart * (len(bag) / total)
            count = total
        if not count:
            raise WsikitError("the training bags hold no patch", "check the training split")
        if not torch.isfinite(squares).all():
            raise WsikitError(
                "features of the training bags are not finite", "extract the features again"
            )
        std = (squares / count).sqrt()
        varies = std > NOISE * mean.abs()
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(varies, 1 / std, 0.0))
