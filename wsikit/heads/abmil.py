"""Gated attention-based multiple instance learning."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wsikit.heads.bag import Bag, BagScores, Head
from wsikit.heads.embedding import embedding_layer
from wsikit.heads.options import check_at_least
from wsikit.heads.standardise import Standardise


class GatedABMIL(Head):
    """Pool a bag by learned attention and classify the pooled vector.

    Ilse, Tomczak & Welling 2018, with the gate: for the embedding h_i of patch i,

        a_i = softmax_i( w . (tanh(V h_i) * sigmoid(U h_i)) )
        logits = classifier( sum_i a_i h_i )

    with one attention branch. The classifier is linear and the attention sums to one, so the
    slide's logits are exactly the attention-weighted mean of the patches' own: `patch_logits` is a
    decomposition of the slide's score and no second model. Departures: features are standardised
    first, and V, U and the embedding have biases.

    Args:
        in_features: width D of a feature vector.
        classes: number of classes, at least 2.
        embed: width of the embedding h.
        attention: rows of V and U.
        dropout: share of the embedding dropped in training.
    """

    def __init__(
        self,
        in_features: int,
        classes: int,
        *,
        embed: int = 128,
        attention: int = 64,
        dropout: float = 0.25,
    ) -> None:
        check_at_least("classes", classes, 2)
        check_at_least("attention", attention, 1)
        super().__init__()
        self.standardise = Standardise(in_features)
        self.embed = embedding_layer(in_features, embed, dropout)
        self.attention_v = nn.Linear(embed, attention)
        self.attention_u = nn.Linear(embed, attention)
        # A bias here would move all scores alike, which softmax does not see.
        self.attention_w = nn.Linear(attention, 1, bias=False)
        self.classifier = nn.Linear(embed, classes)

    def forward(self, bag: Bag) -> BagScores:
        """Score one bag of N >= 1 patches."""
        embedding: Tensor = self.embed(self.standardise(bag.features))  # (N, embed)
        gate = torch.sigmoid(self.attention_u(embedding))  # (N, attention)
        score = self.attention_w(torch.tanh(self.attention_v(embedding)) * gate)  # (N, 1)
        attention = score.squeeze(1).softmax(dim=0)  # (N,)
        logits = self.classifier(attention @ embedding)  # (C,)
        return BagScores(logits, self.classifier(embedding), attention)
