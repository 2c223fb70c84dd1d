"""Dual-stream MIL: the most critical patch of each class, and a bag weighed by likeness to it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsikit.heads.bag import Bag, BagScores, Head
from wsikit.heads.options import check_at_least
from wsikit.heads.standardise import Standardise


class Streams(NamedTuple):
    """What the two streams say.

    Attributes:
        patches: (N, C) float32, the first stream's logits of each patch.
        critical: (C,) float32, their maxima.
        bag: (C,) float32, the second stream's logits of the slide.
        attention: (N, C) float32, what each class's bag is made of; columns sum to one.
    """

    patches: Tensor
    critical: Tensor
    bag: Tensor
    attention: Tensor


class DSMIL(Head):
    """Average the logits of the most critical patch and those of a bag weighed by likeness to it.

    Li, Li & Eliceiri 2021. First stream: a linear classifier gives each patch x_i its logits; m is
    the patch where class c is largest. Second stream, for each class:

        a_i = softmax_i( q_i . q_m / sqrt(d) ),  q = Q x,   b = sum_i a_i x_i

    and a classifier that sees the b of all classes. The slide's logits are the mean of both
    streams', and each is trained by itself: half the loss is the first stream's, half the second's.
    `patch_logits` are the first stream's; `attention` is the mean over classes of the a_i.

    Departures: classes exclude each other (softmax and cross-entropy; the paper asks for each class
    apart); the values are the features themselves, as in the authors' code, since a linear map in
    front of a linear classifier adds nothing; features are standardised first.

    torchmil 1.0.2 has a DSMIL, which is not used here because it tells two classes apart and no
    more, by one critical patch; `torchmil:DSMIL` reaches it.

    Args:
        in_features: width D of a feature vector.
        classes: number of classes, at least 2.
        query: width d of a query.
    """

    def __init__(self, in_features: int, classes: int, *, query: int = 128) -> None:
        check_at_least("in_features", in_features, 1)
        check_at_least("classes", classes, 2)
        check_at_least("query", query, 1)
        super().__init__()
        self.standardise = Standardise(in_features)
        self.patch_classifier = nn.Linear(in_features, classes)
        self.query = nn.Linear(in_features, query)
        self.bag_classifier = nn.Linear(classes * in_features, classes)

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
        features = self.standardise(bag.features)  # (N, D)
        patches = self.patch_classifier(features)  # (N, C)
        critical, which = patches.max(dim=0)  # (C,)
        queries = self.query(features)  # (N, d)
        likeness = queries @ queries[which].T / queries.shape[1] ** 0.5  # (N, C)
        attention = likeness.softmax(dim=0)
        bags = attention.T @ features  # (C, D)
        return Streams(patches, critical, self.bag_classifier(bags.flatten()), attention)
