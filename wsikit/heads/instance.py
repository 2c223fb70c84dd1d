"""A classifier of single patches, whose answers are pooled."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wsikit.heads.bag import Bag, BagScores, Head
from wsikit.heads.instance_pool import InstancePool
from wsikit.heads.options import check_at_least, check_share
from wsikit.heads.standardise import Standardise

LEAST = 1e-7
"""A probability below is taken as this, where its logarithm is needed."""


class InstanceHead(Head):
    """Score every patch alone with a linear layer; a slide's probability is pooled from them.

    CN115482232A classifies patches with one linear layer on an encoder; this is that layer, on
    features that are there already. Features are standardised first, and may pass a hidden layer.

    Args:
        in_features: width D of a feature vector.
        classes: number of classes; the first is the negative one.
        hidden: width of a layer before the last one; 0 for none.
        dropout: share of the features (with a hidden layer: of its outputs) dropped in training.
        pool: how patches make a slide; see `InstancePool`.
        top: see `InstancePool`.
    """

    def __init__(
        self,
        in_features: int,
        classes: int,
        *,
        hidden: int = 0,
        dropout: float = 0.1,
        pool: str = InstancePool.pool,
        top: float = InstancePool.top,
    ) -> None:
        check_at_least("in_features", in_features, 1)
        check_at_least("classes", classes, 2)
        check_at_least("hidden", hidden, 0)
        check_share("dropout", dropout)
        super().__init__()
        self.pool = InstancePool(pool, top)
        self.standardise = Standardise(in_features)
        layers = [nn.Linear(in_features, hidden), nn.ReLU()] if hidden else []
        last = nn.Linear(hidden or in_features, classes)
        self.classify = nn.Sequential(*layers, nn.Dropout(dropout), last)

    def forward(self, bag: Bag) -> BagScores:
        """Score one bag of N >= 1 patches; the attention is each patch's part in the pool."""
        logits = self.patch_logits(bag.features)  # (N, C)
        probabilities = torch.softmax(logits.float(), dim=-1)
        shares = self.pool.shares(probabilities.detach())  # (N,)
        slide = (shares @ probabilities).clamp_min(LEAST).log()  # (C,)
        return BagScores(slide, logits, shares)

    def patch_logits(self, features: Tensor) -> Tensor:
        """Score patches alone: (B, D) features in, (B, C) logits out."""
        logits: Tensor = self.classify(self.standardise(features))
        return logits
