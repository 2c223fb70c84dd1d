"""Score the patches of a slide with a network that was trained on patches."""

from __future__ import annotations

import numpy as np
import torch

from wsikit.errors import SlideError
from wsikit.heads.instance_pool import InstancePool
from wsikit.training.bags.predict import BagPrediction
from wsikit.training.patches.data import PatchBatches, PatchSide, ReadPatch
from wsikit.training.patches.network import PatchNetwork
from wsikit.training.patches.plan import PatchSlide, validation_plan


def predict_patches(
    network: PatchNetwork,
    read: ReadPatch,
    slide_id: str,
    patches: int,
    device: torch.device,
    batch_size: int,
    pool: InstancePool,
) -> BagPrediction:
    """Score every patch of a slide, and pool the slide's probabilities from theirs.

    Args:
        network: on `device`, in evaluation mode.
        read: reads a patch.
        slide_id: the slide.
        patches: how many it has, 1 or more.
        device: where to compute.
        batch_size: patches at once.
        pool: which patches the slide's probabilities are the mean of.

    Returns:
        The prediction, without attention: every patch that counts counts alike.

    Raises:
        SlideError: a score is not finite.
    """
    side = PatchSide((PatchSlide(slide_id, 0, patches),), read)
    plan = validation_plan(side.slides, None, 0)
    batches = PatchBatches(side, lambda _: plan, batch_size)
    parts = [network.probabilities(batch.pixels.to(device)).numpy() for batch in batches]
    probabilities = np.concatenate(parts)  # (N, C)
    if not np.isfinite(probabilities).all():
        raise SlideError(f"slide '{slide_id}' has scores that are not finite", "train again")
    return BagPrediction(
        slide_id,
        pool.pooled(torch.from_numpy(probabilities)).numpy(),
        probabilities,
        attention=None,
    )
