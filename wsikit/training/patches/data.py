"""Batches of labelled patches, read ahead of the network by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import lightning.pytorch as L
import numpy as np
import torch
from torch import Tensor

from wsikit.training.patches.plan import PatchPlan, PatchSlide, training_plan, validation_plan
from wsikit.training.patches.turns import turned
from wsikit.training.patches.warp import NO_WARP, WarpRange, warped
from wsikit.types import UInt8Image

ReadPatch = Callable[[str, int], UInt8Image]
"""Read patch number `index` of a slide as (H, W, 3), uint8 or float32 from 0 to 255.

Called from several threads.
"""

READERS = 2
"""Threads that decode: JPEG decoders let other threads run meanwhile."""

AHEAD = 2
"""Batches read ahead."""


class PatchBatch(NamedTuple):
    """Patches with the classes of their slides.

    Attributes:
        pixels: (B, 3, H, W) uint8, or float32 from 0 to 255.
        labels: (B,) int64.
        slide_ids: B slide ids, for messages.
    """

    pixels: Tensor
    labels: Tensor
    slide_ids: tuple[str, ...]


class PatchSide(NamedTuple):
    """One side of a split.

    Attributes:
        slides: its slides.
        read: reads a patch of one of them.
    """

    slides: tuple[PatchSlide, ...]
    read: ReadPatch


class PatchBatches:
    """Go through a plan's patches in batches whose sizes differ by one at most.

    So no batch is a lonely patch, of which a batch norm could learn nothing.

    Args:
        side: where the patches come from.
        plan: gives the plan of an epoch, counted from 0.
        batch_size: patches a batch, at most.
    """

    def __init__(self, side: PatchSide, plan: Callable[[int], PatchPlan], batch_size: int) -> None:
        self._side = side
        self._plan = plan
        self._batch_size = batch_size
        self._epoch = 0
        self._count = -(-len(plan(0)) // batch_size)

    batch_sampler = None
    """Lightning asks for it where there is a `sampler`."""

    @property
    def sampler(self) -> PatchBatches:
        """What Lightning tells the epoch."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next pass shows; Lightning calls it, resumed fits included."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[PatchBatch]:
        plan = self._plan(self._epoch)
        parts = np.array_split(np.arange(len(plan)), self._count)
        with ThreadPoolExecutor(READERS) as readers:
            waiting: deque[list[Future[UInt8Image]]] = deque()
            try:
                for number, part in enumerate(parts):
                    for later in parts[number + len(waiting) : number + 1 + AHEAD]:
                        waiting.append([readers.submit(self._patch, plan, n) for n in later])
                    pixels = [patch.result() for patch in waiting.popleft()]
                    yield self._batch(plan, part.tolist(), pixels)
            finally:
                for patch in (patch for batch in waiting for patch in batch):
                    patch.cancel()

    def _patch(self, plan: PatchPlan, number: int) -> UInt8Image:
        slide = self._side.slides[int(plan.slides[number])]
        pixels = self._side.read(slide.slide_id, int(plan.indices[number]))
        upright = turned(pixels, int(plan.turns[number]))
        return upright if plan.warps is None else warped(upright, plan.warps[number])

    def _batch(
        self, plan: PatchPlan, numbers: Sequence[int], pixels: Sequence[UInt8Image]
    ) -> PatchBatch:
        slides = [self._side.slides[int(plan.slides[n])] for n in numbers]
        stacked = np.stack(pixels).transpose(0, 3, 1, 2)  # (B, 3, S, S)
        return PatchBatch(
            torch.from_numpy(np.ascontiguousarray(stacked)),
            torch.tensor([slide.label for slide in slides]),
            tuple(slide.slide_id for slide in slides),
        )


class PatchData(L.LightningDataModule):
    """Give Lightning the training and validation patches.

    Args:
        train: slides to learn from; each epoch shows other patches of them, other ways up.
        val: slides that choose the best epoch; always the same patches.
        batch_size: patches a step.
        per_slide: patches of a slide an epoch, at most; None for all.
        augment: whether training patches are turned and flipped.
        seed: of every choice.
        warp: how far training patches are moved beside that.
        quarters: whether they are turned by quarters; else flipped alone.
    """

    def __init__(
        self,
        train: PatchSide,
        val: PatchSide,
        *,
        batch_size: int,
        per_slide: int | None,
        augment: bool,
        seed: int,
        warp: WarpRange = NO_WARP,
        quarters: bool = True,
    ) -> None:
        super().__init__()
        fixed = validation_plan(val.slides, per_slide, seed)
        self._train = PatchBatches(
            train,
            lambda epoch: training_plan(
                train.slides, per_slide, augment, seed, epoch, warp, quarters
            ),
            batch_size,
        )
        self._val = PatchBatches(val, lambda _: fixed, batch_size)

    def train_dataloader(self) -> PatchBatches:
        """Return the training batches."""
        return self._train

    def val_dataloader(self) -> PatchBatches:
        """Return the validation batches."""
        return self._val
