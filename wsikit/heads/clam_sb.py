"""CLAM with one attention branch: gated attention, and a loss on the patches at its two ends."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsikit.heads.bag import Bag, BagScores, Head
from wsikit.heads.embedding import embedding_layer
from wsikit.heads.options import check_at_least, check_share
from wsikit.heads.standardise import Standardise

MARGIN = 1.0


class ClamSB(Head):
    """Pool by gated attention, and teach it to tell patches of high from those of low attention.

    Lu et al. 2021 (CLAM-SB, the published sizes). The slide is classified as in gated ABMIL. Beside
    it stands one classifier a class, of two outputs: the one of the slide's own class learns to
    call the k patches of highest attention 1 and the k of lowest attention 0. With `subtyping`, for
    classes that exclude each other, the others learn to call the k highest 0. The loss is

        bag_weight * cross-entropy + (1 - bag_weight) * smooth SVM of those patches.

    Departures: features are standardised first; the attention has no bias at its end, which softmax
    would not see; a slide of fewer than 2k patches takes half of its patches for k, so that none is
    called both. `patch_logits` is the slide's classifier applied to each patch; the slide's logits
    are exactly their mean by `attention`, which is what the paper shows.

    torchmil 1.0.2 has a CLAM-SB, which is not used here: it tells two classes apart and no more,
    its smooth SVM compares patches where it should compare classes (the margin is broadcast to
    patches x patches x classes), it has no embedding layer, and it adds both losses unweighted.

    Args:
        in_features: width D of a feature vector.
        classes: number of classes, at least 2.
        embed: width of the embedding.
        attention: rows of V and U.
        dropout: share dropped in training, of the embedding and inside the attention.
        k: patches taken from either end.
        bag_weight: share of the slide's loss in the whole, from 0 up to, not including, 1.
        subtyping: whether the other classes' classifiers learn from a slide too.
    """

    def __init__(
        self,
        in_features: int,
        classes: int,
        *,
        embed: int = 512,
        attention: int = 256,
        dropout: float = 0.25,
        k: int = 8,
        bag_weight: float = 0.7,
        subtyping: bool = False,
    ) -> None:
        check_at_least("classes", classes, 2)
        check_at_least("attention", attention, 1)
        check_at_least("k", k, 1)
        check_share("bag_weight", bag_weight)
        super().__init__()
        self.k = k
        self.bag_weight = bag_weight
        self.subtyping = subtyping
        self.standardise = Standardise(in_features)
        self.embed = embedding_layer(in_features, embed, dropout)
        self.attention_v = nn.Sequential(
            nn.Linear(embed, attention), nn.Tanh(), nn.Dropout(dropout)
        )
        self.attention_u = nn.Sequential(
            nn.Linear(embed, attention), nn.Sigmoid(), nn.Dropout(dropout)
        )
        self.attention_w = nn.Linear(attention, 1, bias=False)
        self.classifier = nn.Linear(embed, classes)
        self.instances = nn.ModuleList(nn.Linear(embed, 2) for _ in range(classes))

    def forward(self, bag: Bag) -> BagScores:
        """Score one bag of N >= 1 patches."""
        embedding, score = self._embed_and_score(bag)
        attention = score.softmax(dim=0)  # (N,)
        logits = self.classifier(attention @ embedding)  # (C,)
        return BagScores(logits, self.classifier(embedding), attention)

    def training_loss(self, bag: Bag, label: Tensor) -> Tensor:
        """Return the weighted sum of the slide's loss and the patches'; see the base class."""
        embedding, score = self._embed_and_score(bag)
        logits = self.classifier(score.softmax(dim=0) @ embedding)  # (C,)
        slide = functional.cross_entropy(logits.float(), label)
        patches = self._patch_loss(embedding, score, int(label))
        return self.bag_weight * slide + (1 - self.bag_weight) * patches

    def _embed_and_score(self, bag: Bag) -> tuple[Tensor, Tensor]:
        embedding: Tensor = self.embed(self.standardise(bag.features))  # (N, embed)
        gated = self.attention_v(embedding) * self.attention_u(embedding)  # (N, attention)
        return embedding, self.attention_w(gated).squeeze(1)

    def _patch_loss(self, embedding: Tensor, score: Tensor, label: int) -> Tensor:
        k = min(self.k, len(score) // 2)
        if not k:
            return embedding.new_zeros(())
        high = embedding[score.topk(k).indices]  # (k, embed)
        low = embedding[score.topk(k, largest=False).indices]
        ones = torch.ones(k, dtype=torch.int64, device=score.device)
        own = self.instances[label](torch.cat([high, low]))  # (2k, 2)
        loss = smooth_svm(own, torch.cat([ones, 0 * ones]))
        if not self.subtyping:
            return loss
        for number, instance in enumerate(self.instances):
            if number != label:
                loss = loss + smooth_svm(instance(high), 0 * ones)
        return loss / len(self.instances)


def smooth_svm(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the smooth top-1 SVM loss (Berrada, Zisserman & Kumar 2018) at temperature 1.

    log sum_j exp(s_j + MARGIN [j != y] - s_y): the cross-entropy after the margin was added to
    every class but the true one.

    Args:
        scores: (M, C) floats.
        labels: (M,) int64 in 0..C-1.

    Returns:
        () float32, the mean over the M.
    """
    others = 1 - functional.one_hot(labels, scores.shape[1]).to(scores.dtype)  # (M, C)
    return functional.cross_entropy((scores + MARGIN * others).float(), labels)
