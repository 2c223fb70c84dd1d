"""The splits by which data sets were published or used, for comparison with what was printed.

None of them is the default: by default the cohort has no `split` column, and `wsikit train` keeps
each patient on one side.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Literal

import numpy as np

SplitKind = Literal["patient", "images", "published"]

LEAKY = "LEAKY: pictures of one patient lie on several sides, so what is measured is too good"
SIDES = ("train", "val", "test")


def split_images(
    labels: Mapping[str, str], shares: tuple[float, float, float], seed: int
) -> tuple[dict[str, str], str]:
    """Split single pictures at random, class shares kept, whoever they are of.

    Args:
        labels: slide id -> class.
        shares: of train, val and test; they sum to one.
        seed: of the drawing.

    Returns:
        Slide id -> side, and what is to be said of the split.
    """
    by_class: dict[str, list[str]] = defaultdict(list)
    for slide_id, label in sorted(labels.items()):
        by_class[label].append(slide_id)
    rng = np.random.default_rng(seed)
    sides: dict[str, str] = {}
    for _, ids in sorted(by_class.items()):
        order = rng.permutation(len(ids))
        ends = np.rint(np.cumsum(shares) * len(ids)).astype(int)
        for place, number in enumerate(order):
            sides[ids[number]] = SIDES[min(2, int(np.searchsorted(ends, place, side="right")))]
    parts = "/".join(f"{100 * share:g}" for share in shares)
    return sides, f"images, {parts} at random, seed {seed}. {LEAKY}"


def published_split(
    published: Mapping[str, str], patients: Mapping[str, str], val_share: float, seed: int
) -> tuple[dict[str, str], str]:
    """Take a data set's own train and test sides, and part validating patients from train.

    Args:
        published: slide id -> `train` or `test`.
        patients: slide id -> patient.
        val_share: share of the training patients that validate, at least one.
        seed: of their drawing.

    Returns:
        Slide id -> side, and what is to be said of the split: leaky where a patient is on both.
    """
    own = {side: {patients[i] for i, s in published.items() if s == side} for side in SIDES}
    both = own["train"] & own["test"]
    drawn = np.random.default_rng(seed).permutation(sorted(own["train"]))
    val = set(drawn[: max(1, round(val_share * len(drawn)))].tolist())
    sides = {
        slide_id: "val" if side == "train" and patients[slide_id] in val else side
        for slide_id, side in published.items()
    }
    words = f"published; {len(val)} of {len(drawn)} training patients validate, seed {seed}"
    if both:
        words += f". {LEAKY} ({len(both)} patients in both)"
    return sides, words
