"""The patch that speaks most clearly for each class decides the slide."""

from __future__ import annotations

from wsikit.heads.bag import Bag, BagScores
from wsikit.heads.pooled_patches import PooledPatches


class MaxPooling(PooledPatches):
    """Score each patch alone and give the slide, class by class, the largest logit of its patches.

    Pooled are logits and not embeddings, so a patch score is what decided the slide. All classes
    are treated alike: each takes the patch that speaks for it most clearly, where others take the
    logits of the one patch most likely to be positive, which needs to be told what positive is.
    Only those patches get a gradient in a step. See `PooledPatches` for the options.
    """

    def forward(self, bag: Bag) -> BagScores:
        """Score one bag of N >= 1 patches."""
        patches = self.classifier(self.embed(self.standardise(bag.features)))  # (N, C)
        return BagScores(patches.amax(dim=0), patches)
