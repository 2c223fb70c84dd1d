"""Batches for self-distillation: half from positive slides, half from negative ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import lightning.pytorch as L
import numpy as np
import torch
from torch import Tensor

from wsikit.training.patches.data import PatchBatches, PatchSide
from wsikit.training.patches.plan import Indices, PatchPlan, PatchSlide, training_plan

NEGATIVE = -1
"""The position of a patch that has no place in the bank."""


class DistilBatch(NamedTuple):
    """Patches, and where they come from.

    Attributes:
        patches: (B, 3, S, S) uint8 pictures, or (B, D) float32 features.
        slides: (B,) int64, number of the slide in its side.
        positions: (B,) int64, the patch's place in the bank; `NEGATIVE` of a negative slide's.
    """

    patches: Tensor
    slides: Tensor
    positions: Tensor


Fetch = Callable[[PatchPlan, int], Iterator[Tensor]]
"""Read a plan's patches in batches of at most so many, whose sizes differ by one at most."""


def fetch_pictures(side: PatchSide) -> Fetch:
    """Return what decodes patches, ahead of the network."""

    def fetch(plan: PatchPlan, batch_size: int) -> Iterator[Tensor]:
        for batch in PatchBatches(side, lambda _: plan, batch_size):
            yield batch.pixels

    return fetch


def fetch_features(slides: Sequence[PatchSlide], load: Callable[[str], Tensor]) -> Fetch:
    """Return what gathers features: each slide read once a pass, only the planned rows kept.

    Memory is 4 bytes a feature of each patch of an epoch, beside the one slide being read.

    Args:
        slides: those of the plans.
        load: reads a slide's (N, D) float32 features.
    """

    def fetch(plan: PatchPlan, batch_size: int) -> Iterator[Tensor]:
        order = np.argsort(plan.slides, kind="stable")
        numbers, starts = np.unique(plan.slides[order], return_index=True)
        rows: Tensor | None = None
        for number, places in zip(numbers, np.split(order, starts[1:]), strict=True):
            features = load(slides[int(number)].slide_id)
            if rows is None:
                rows = torch.empty(len(plan), features.shape[1])
            rows[torch.from_numpy(places)] = features[
                torch.from_numpy(plan.indices[places])
            ].float()
        if rows is not None:
            yield from (rows[torch.from_numpy(part)] for part in _parts(plan, batch_size))

    return fetch


def paired_plan(
    slides: Sequence[PatchSlide], per_slide: int | None, seed: int, epoch: int
) -> PatchPlan:
    """Draw an epoch: every second patch from a positive slide, every other from a negative one.

    Both kinds are mixed over their slides. An epoch shows each drawn patch of the positive slides
    once, and as many of the negative slides: a random part of them where there are more, some again
    where there are fewer.

    Args:
        slides: the training side, of labels 0 and 1, both of which occur.
        per_slide: patches drawn of a slide, at most; None for all.
        seed: the fit's.
        epoch: from 0.
    """
    positive = _plan_of(slides, 1, per_slide, seed, epoch)
    negative = _plan_of(slides, 0, per_slide, seed, epoch)
    taken = np.resize(np.arange(len(negative)), len(positive))
    slide_numbers, indices, turns = (
        np.stack([one, other[taken]], axis=1).ravel()
        for one, other in zip(positive[:3], negative[:3], strict=True)
    )
    return PatchPlan(slide_numbers, indices, turns)


def bank_starts(slides: Sequence[PatchSlide]) -> Indices:
    """Return where each slide's patches begin in the bank, and then the bank's size.

    Patches of positive slides lie there in the order of the slides; negative slides take no room.
    """
    sizes = [slide.patches if slide.label else 0 for slide in slides]
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


class DistilBatches:
    """Go through a plan in batches; see `PatchBatches`.

    Args:
        slides: those that the plan numbers.
        plan: gives the plan of an epoch, counted from 0.
        batch_size: patches a batch, at most.
        fetch: reads them.
    """

    def __init__(
        self,
        slides: Sequence[PatchSlide],
        plan: Callable[[int], PatchPlan],
        batch_size: int,
        fetch: Fetch,
    ) -> None:
        self._positive = np.array([slide.label > 0 for slide in slides])
        self._starts = bank_starts(slides)[:-1]
        self._plan = plan
        self._batch_size = batch_size
        self._fetch = fetch
        self._epoch = 0
        self._count = len(_parts(plan(0), batch_size))

    batch_sampler = None
    """Lightning asks for it where there is a `sampler`."""

    @property
    def sampler(self) -> DistilBatches:
        """What Lightning tells the epoch."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next pass shows; Lightning calls it, resumed fits included."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[DistilBatch]:
        plan = self._plan(self._epoch)
        parts = _parts(plan, self._batch_size)
        for part, patches in zip(parts, self._fetch(plan, self._batch_size), strict=True):
            slides = plan.slides[part]
            places = self._starts[slides] + plan.indices[part]
            positions = np.where(self._positive[slides], places, NEGATIVE)
            yield DistilBatch(patches, torch.from_numpy(slides), torch.from_numpy(positions))


class DistilData(L.LightningDataModule):
    """Give Lightning the training and validation batches."""

    def __init__(self, train: DistilBatches, val: DistilBatches) -> None:
        super().__init__()
        self._train = train
        self._val = val

    def train_dataloader(self) -> DistilBatches:
        """Return the training batches."""
        return self._train

    def val_dataloader(self) -> DistilBatches:
        """Return the validation batches."""
        return self._val


def _plan_of(
    slides: Sequence[PatchSlide], label: int, per_slide: int | None, seed: int, epoch: int
) -> PatchPlan:
    """Draw from the slides of one label; patches are not turned, since views do that."""
    numbers = np.flatnonzero([slide.label == label for slide in slides])
    chosen = [slide for slide in slides if slide.label == label]
    plan = training_plan(chosen, per_slide, False, seed, epoch)
    return PatchPlan(numbers[plan.slides], plan.indices, plan.turns)


def _parts(plan: PatchPlan, batch_size: int) -> list[Indices]:
    return np.array_split(np.arange(len(plan)), -(-len(plan) // batch_size))
