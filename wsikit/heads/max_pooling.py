"""The patch that speaks most clearly for each class decides the slide."""

from __future__ import annotations

from wsikit.heads.bag import Bag, BagScores
from wsikit.heads.pooled_patches import PooledPatches


class MaxPooling(PooledPatches):
    """Score each patch alone and let the most telling one speak for the slide.

    Of two classes the slide takes the logits of the patch most likely to be of the last, the
    positive one. Of more, each class takes the largest logit that any patch gives it. Pooled are
    logits and not embeddings, so a patch score is what decided the slide. Only those patches get a
    gradient in a step. See `PooledPatches` for the options.
    """

    def forward(self, bag: Bag) -> BagScores:
        """Score one bag of N >= 1 patches."""
        patches = self.classifier(self.embed(self.standardise(bag.features)))  # (N, C)
        if patches.shape[1] > 2:
            return BagScores(patches.amax(dim=0), patches)
        most = (patches[:, 1] - patches[:, 0]).argmax()
        return BagScores(patches[most], patches)
