"""The mean of all patches: the plainest baseline."""

from __future__ import annotations

from torch import Tensor

from wsikit.heads.bag import Bag, BagScores
from wsikit.heads.pooled_patches import PooledPatches


class MeanPooling(PooledPatches):
    """Classify the mean of the patches' embeddings, h = relu(E x).

    The classifier is linear, so the slide's logits are exactly the mean of the patches' own. There
    is no `attention`: every patch has the same share. See `PooledPatches` for the options.
    """

    def forward(self, bag: Bag) -> BagScores:
        """Score one bag of N >= 1 patches."""
        embedding: Tensor = self.embed(self.standardise(bag.features))  # (N, embed)
        logits = self.classifier(embedding.mean(dim=0))  # (C,)
        return BagScores(logits, self.classifier(embedding))
