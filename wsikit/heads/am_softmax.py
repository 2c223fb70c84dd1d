"""AM-softmax (Wang, Cheng, Liu and Liu 2018): classes told apart by angle, with a margin.

The loss of one example with feature f and class y, as CN115409783A prints it:

    -log  exp(s (W_y . f - m)) / ( exp(s (W_y . f - m)) + sum_{j != y} exp(s W_j . f) )

where f and every row of W have length one, so that W_j . f is the cosine of the angle between them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SHORTEST = 1e-6
"""A feature shorter than this is divided by this and not by its length: one that is zero has cosine
0 with every class, and a gradient that is finite."""


class NormalisedLinear(nn.Module):
    """Give the cosine of the angle between a feature and each class; it has no bias.

    Args:
        in_features: width D of a feature.
        classes: number C of classes.
    """

    def __init__(self, in_features: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, in_features))
        nn.init.xavier_normal_(self.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Return cosines.

        Args:
            features: (B, D) floats of any length.

        Returns:
            (B, C) in -1..1 but for rounding.
        """
        directions = functional.normalize(features, eps=SHORTEST)  # (B, D)
        classes = functional.normalize(self.weight, eps=SHORTEST)  # (C, D)
        return functional.linear(directions, classes)  # (B, C)


def am_softmax_loss(cosines: Tensor, labels: Tensor, s: float, m: float) -> Tensor:
    """Return the loss of each example.

    Args:
        cosines: (B, C) floats in -1..1.
        labels: (B,) int64 in 0..C-1.
        s: what cosines are multiplied by, above 0.
        m: the margin, subtracted from the cosine of the true class alone; 0 for none.

    Returns:
        (B,), from 0 to about s (2 + m).
    """
    margin = m * functional.one_hot(labels, cosines.shape[1]).to(cosines.dtype)  # (B, C)
    return functional.cross_entropy(s * (cosines - margin), labels, reduction="none")
