"""What mean and max pooling share: an embedding and a linear classifier."""

from __future__ import annotations

from torch import nn

from wsikit.heads.bag import Head
from wsikit.heads.embedding import embedding_layer
from wsikit.heads.options import check_at_least
from wsikit.heads.standardise import Standardise


class PooledPatches(Head):
    """Hold the layers; a subclass pools.

    The embedding is that of gated ABMIL, so that a difference between them is one of pooling.

    Args:
        in_features: width D of a feature vector.
        classes: number of classes, at least 2.
        embed: width of the embedding h.
        dropout: share of the embedding dropped in training.
    """

    def __init__(
        self, in_features: int, classes: int, *, embed: int = 128, dropout: float = 0.25
    ) -> None:
        check_at_least("classes", classes, 2)
        super().__init__()
        self.standardise = Standardise(in_features)
        self.embed = embedding_layer(in_features, embed, dropout)
        self.classifier = nn.Linear(embed, classes)
