"""Fully connected layers that end in one number: the classifier of method E, and the plain one.

The source's is FC 1024 -> BN -> ReLU -> dropout 0.5 -> FC 256 -> BN -> ReLU -> dropout 0.5 ->
FC 1 -> sigmoid, after the encoder's global average pooling, with binary cross-entropy. Without
hidden layers it is what the source holds it against: FC 1 -> sigmoid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsikit.errors import ConfigError
from wsikit.heads.am_softmax_classifier import PATCH_CLASSIFIERS, PatchClassifier

DENSE = "dense"
HIDDEN = (1024, 256)
WIDEST = 65_536


@PATCH_CLASSIFIERS.register(DENSE)
class DenseClassifier(PatchClassifier):
    """Tell two classes apart by one number z: the second one's probability is sigmoid(z).

    Args:
        in_features: width D of a feature.
        classes: 2.
        hidden: widths of the hidden layers, each with a batch norm, ReLU and dropout; empty for
            none.
        dropout: share of a hidden layer's numbers that training drops, from 0 to below 1.

    Raises:
        ConfigError: there are not two classes, or an option is out of range.
    """

    def __init__(
        self,
        in_features: int,
        classes: int,
        *,
        hidden: Sequence[int] = HIDDEN,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if classes != 2:
            raise ConfigError(
                f"this classifier tells two classes apart, and there are {classes}",
                "give two labels, or another --method",
            )
        if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
            raise ConfigError(f"dropout is {dropout!r}", "give a number from 0 to below 1")
        self.dropout = float(dropout)
        layers: list[nn.Module] = []
        for width in _widths(hidden):
            layers += [
                nn.Linear(in_features, width),
                nn.BatchNorm1d(width),
                nn.ReLU(),
                nn.Dropout(self.dropout),
            ]
            in_features = width
        self.layers = nn.Sequential(*layers, nn.Linear(in_features, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, 2) logits 0 and z, whose softmax is sigmoid(z); see the base class."""
        z = self.layers(features)  # (B, 1)
        return torch.cat([torch.zeros_like(z), z], dim=1)  # (B, 2)

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the binary cross-entropy; see the base class."""
        z = self.layers(features)[:, 0]  # (B,)
        return functional.binary_cross_entropy_with_logits(z, labels.to(z.dtype), reduction="none")


def _widths(hidden: Any) -> tuple[int, ...]:
    fine = isinstance(hidden, list | tuple) and all(
        isinstance(width, int) and not isinstance(width, bool) and 1 <= width <= WIDEST
        for width in hidden
    )
    if not fine:
        raise ConfigError(f"hidden is {hidden!r}", f"give widths from 1 to {WIDEST}, or []")
    return tuple(hidden)
