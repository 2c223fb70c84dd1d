"""Known regions: masks beside a cohort, as outlines for heatmaps and as truth for patch scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from wsikit.errors import StoreError
from wsikit.phantoms.truth import patch_truth
from wsikit.stages.patch_table import read_patches
from wsikit.stages.run_folder import RunFolder
from wsikit.store.store import Store
from wsikit.types import BoolMask, Size

POSITIVE_SHARE = 0.5
"""A patch is positive where at least this share of it is marked, negative where none is."""


def read_mask(folder: Path, slide_id: str, size_l0: Size) -> tuple[BoolMask, tuple[float, float]]:
    """Read `<slide_id>_mask.png`, a mask of the whole slide at any scale.

    Args:
        folder: where masks lie.
        slide_id: the slide.
        size_l0: the slide's size in level-0 px.

    Returns:
        (h, w) bool and level-0 px per mask px along x and y.

    Raises:
        StoreError: absent or unreadable.
    """
    path = folder / f"{slide_id}_mask.png"
    try:
        with Image.open(path) as picture:
            mask = np.asarray(picture.convert("L")) > 127
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path}: no readable mask", "write it as a black and white PNG"
        ) from error
    return mask, (size_l0.width / mask.shape[1], size_l0.height / mask.shape[0])


def held_out_patch_auc(store: Store, run: RunFolder, truth: Path) -> float | None:
    """Measure how well patch scores find the known regions of held-out slides.

    Patches of all held-out slides are pooled. A patch is positive if at least `POSITIVE_SHARE` of
    it is marked and negative if none of it is; what lies between is left out.

    Args:
        store: the slides' store.
        run: a run whose patches are predicted.
        truth: folder of `<slide_id>_mask.png`.

    Returns:
        The area under the ROC curve, or None where only one kind of patch occurs.
    """
    predictions = run.predictions()
    labels, scores = [], []
    for slide_id in predictions.loc[predictions["split"] == "test", "slide_id"]:
        table = read_patches(run.patch_table(slide_id))
        mask, downsample = read_mask(truth, slide_id, store.slide(slide_id).grid.slide_px)
        x, y, width, height = (table[c].to_numpy() for c in ("x", "y", "width", "height"))
        share = patch_truth(mask, downsample, x, y, width, height)
        clear = (share >= POSITIVE_SHARE) | (share == 0)
        labels.append(share[clear] >= POSITIVE_SHARE)
        scores.append(table["score"].to_numpy()[clear])
    truths = np.concatenate(labels) if labels else np.zeros(0, bool)
    if truths.all() or not truths.any():
        return None
    return float(roc_auc_score(truths, np.concatenate(scores)))
