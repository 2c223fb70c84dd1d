"""Mean pooling: the slide is the mean of its patches. What every other method must beat."""

from __future__ import annotations

from wsikit.methods.method import METHODS, Method

MEAN_POOLING = METHODS.register("mean_pooling")(
    Method("mean_pooling", "mean of the patches' embeddings")
)
