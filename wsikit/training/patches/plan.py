"""Which patches an epoch shows, in which order, which way up: decided by seed and epoch alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from wsikit.training.patches.turns import TURNS
from wsikit.training.patches.warp import NO_WARP, WarpRange, Warps

Indices = NDArray[np.int64]


class PatchSlide(NamedTuple):
    """A slide whose patches are learnt from.

    Attributes:
        slide_id: the slide.
        label: its class number, which every patch of it inherits.
        patches: how many it has, 1 or more.
    """

    slide_id: str
    label: int
    patches: int


class PatchPlan(NamedTuple):
    """N patches in the order of the epoch.

    Attributes:
        slides: (N,) int64, number of the slide in its side.
        indices: (N,) int64, number of the patch in its slide.
        turns: (N,) int64, which way up; see `patch_turns`.
        warps: (N, 4) float64, moved how; see `Warps`. None where no patch is moved.
    """

    slides: Indices
    indices: Indices
    turns: Indices
    warps: Warps | None = None

    def __len__(self) -> int:
        return len(self.slides)


def training_plan(
    slides: Sequence[PatchSlide],
    per_slide: int | None,
    augment: bool,
    seed: int,
    epoch: int,
    warp: WarpRange = NO_WARP,
    quarters: bool = True,
) -> PatchPlan:
    """Draw an epoch: other patches of large slides each time, mixed over slides, turned at random.

    Args:
        slides: the training side.
        per_slide: patches drawn of a slide, without repetition; all where it has no more, or None.
        augment: whether patches are turned and flipped.
        seed: the fit's.
        epoch: from 0.
        warp: how far patches are moved beside that.
        quarters: whether turning goes by quarters; else patches are flipped alone.
    """
    numbers, indices = _drawn(slides, per_slide, seed, epoch)
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(numbers))
    turns = rng.integers(TURNS, size=len(numbers)) if augment else np.zeros(len(numbers), np.int64)
    if not quarters:
        turns -= turns % 2  # half turns and flips to the side: together, flips both ways
    warps = warp.drawn(len(numbers), rng) if warp.moves else None
    return PatchPlan(numbers[order], indices[order], turns, warps)


def validation_plan(slides: Sequence[PatchSlide], per_slide: int | None, seed: int) -> PatchPlan:
    """Draw the patches that judge every epoch: the same ones each time, as they are."""
    numbers, indices = _drawn(slides, per_slide, seed, 0)
    return PatchPlan(numbers, indices, np.zeros(len(numbers), np.int64))


def patches_by_class(
    slides: Sequence[PatchSlide], per_slide: int | None, classes: int
) -> list[int]:
    """Count the patches an epoch shows of each class."""
    counts = [0] * classes
    for slide in slides:
        counts[slide.label] += _shown(slide.patches, per_slide)
    return counts


def batches_of(patches: Sequence[int], per_slide: int | None, batch_size: int) -> int:
    """Count the batches of a pass over slides of so many patches; see `training_plan`."""
    return -(-sum(_shown(count, per_slide) for count in patches) // batch_size)


def _shown(patches: int, per_slide: int | None) -> int:
    return patches if per_slide is None else min(per_slide, patches)


def _drawn(
    slides: Sequence[PatchSlide], per_slide: int | None, seed: int, epoch: int
) -> tuple[Indices, Indices]:
    """Draw each slide's patches; what is drawn of one does not depend on the others."""
    numbers, indices = [], []
    for number, slide in enumerate(slides):
        count = _shown(slide.patches, per_slide)
        rng = np.random.default_rng([seed, epoch, crc32(slide.slide_id.encode())])
        indices.append(np.sort(rng.choice(slide.patches, count, replace=False)))
        numbers.append(np.full(count, number))
    return np.concatenate(numbers).astype(np.int64), np.concatenate(indices).astype(np.int64)
