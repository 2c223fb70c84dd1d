"""Dual-stream MIL: the most critical patch of each class, and a bag weighed by likeness to it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsikit.heads.bag import Bag, BagScores, Head
from wsikit.heads.embedding import embedding_layer
from wsikit.heads.options import check_at_least
from wsikit.heads.standardise import Standardise


class Streams(NamedTuple):
    """What the two streams say.

    Attributes:
        patches: (N, C) float32, the first stream's logits of each patch.
        critical: (C,) float32, their maxima.
        bag: (C,) float32, the second stream's logits of the slide.
        attention: (N, found) float32, what the bag of each class looked for is made of; columns sum
            to one.
    """

    patches: Tensor
    critical: Tensor
    bag: Tensor
    attention: Tensor


class DSMIL(Head):
    """Average the logits of the most critical patch and those of a bag weighed by likeness to it.

    Li, Li & Eliceiri 2021, on an embedding h_i = relu(E x_i) with dropout. First stream: a linear
    classifier gives each patch its logits; m is the patch where class c is largest. Second stream,
    for each class:

        a_i = softmax_i( q_i . q_m / sqrt(d) ),  q = Q h,   b = sum_i a_i h_i

    and a classifier that sees the b of all classes. The slide's logits are the mean of both
    streams', and each is trained by itself: half the loss is the first stream's, half the second's.
    `patch_logits` are the first stream's; `attention` is the mean over classes of the a_i.

    Of two classes only the last is looked for, and the other, whose logit is always 0, is its
    absence, as in the paper. A patch critical for the absence as well would be asked of every
    slide: tumour slides would have to lack normal patches (`docs/heads.md` has what that cost).

    Departures: more than two classes exclude each other (softmax and cross-entropy; the paper asks
    for each class apart); the embedding, which is that of gated ABMIL, so that a difference between
    heads is one of pooling (the paper takes the encoder's features); the values are h itself, as in
    the authors' code, since a linear map in front of a linear classifier adds nothing; features are
    standardised first.

    torchmil 1.0.2 has a DSMIL, which is not used here because it tells two classes apart and no
    more, by one critical patch; `torchmil:DSMIL` reaches it.

    Args:
        in_features: width D of a feature vector.
        classes: number of classes, at least 2.
        embed: width of the embedding h.
        query: width d of a query.
        dropout: share of the embedding dropped in training.
    """

    def __init__(
        self,
        in_features: int,
        classes: int,
        *,
        embed: int = 128,
        query: int = 128,
        dropout: float = 0.25,
    ) -> None:
        check_at_least("classes", classes, 2)
        check_at_least("query", query, 1)
        super().__init__()
        found = 1 if classes == 2 else classes
        self.absent = classes - found
        self.standardise = Standardise(in_features)
        self.embed = embedding_layer(in_features, embed, dropout)
        self.patch_classifier = nn.Linear(embed, found)
        self.query = nn.Linear(embed, query)
        self.bag_classifier = nn.Linear(found * embed, found)

    def forward(self, bag: Bag) -> BagScores:
        """Score one bag of N >= 1 patches."""
        streams = self._streams(bag)
        logits = (streams.critical + streams.bag) / 2  # (C,)
        return BagScores(logits, streams.patches, streams.attention.mean(dim=1))

    def training_loss(self, bag: Bag, label: Tensor) -> Tensor:
        """Return the mean of the cross-entropies of the two streams; see the base class."""
        streams = self._streams(bag)
        both = torch.stack([streams.critical, streams.bag]).float()  # (2, C)
        return functional.cross_entropy(both, label.expand(2))

    def _streams(self, bag: Bag) -> Streams:
        embedding = self.embed(self.standardise(bag.features))  # (N, embed)
        patches = self.patch_classifier(embedding)  # (N, found)
        critical, which = patches.max(dim=0)  # (found,)
        queries = self.query(embedding)  # (N, d)
        likeness = queries @ queries[which].T / queries.shape[1] ** 0.5  # (N, found)
        attention = likeness.softmax(dim=0)
        bags = attention.T @ embedding  # (found, embed)
        slide = self.bag_classifier(bags.flatten())  # (found,)
        return Streams(self._all(patches), self._all(critical), self._all(slide), attention)

    def _all(self, logits: Tensor) -> Tensor:
        """Put the logit of the class that is the absence of the other, 0, before the found ones."""
        return functional.pad(logits, (self.absent, 0))
