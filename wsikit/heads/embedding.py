"""The layer that most heads begin with."""

from __future__ import annotations

from torch import nn

from wsikit.heads.options import check_at_least, check_share


def embedding_layer(in_features: int, embed: int, dropout: float) -> nn.Sequential:
    """Return h = relu(E x + b) with dropout: (N, D) standardised features in, (N, embed) out.

    Heads that begin alike differ in how they pool, and in nothing else.

    Args:
        in_features: width D of a feature vector.
        embed: width of h.
        dropout: share of h dropped in training, 0 to less than 1.

    Raises:
        ConfigError: an argument is out of range.
    """
    check_at_least("in_features", in_features, 1)
    check_at_least("embed", embed, 1)
    check_share("dropout", dropout)
    return nn.Sequential(nn.Linear(in_features, embed), nn.ReLU(), nn.Dropout(dropout))
