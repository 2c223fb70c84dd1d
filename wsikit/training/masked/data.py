"""Batches of items with their masks, read ahead of the network by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import lightning.pytorch as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from wsikit.encoders.spec import EncoderSpec
from wsikit.encoders.umae.cross_attention import MAGNIFICATIONS
from wsikit.encoders.umae.masks import MaskOptions, Masks, draw_masks, joined
from wsikit.training.bags.share import ALONE, Share
from wsikit.training.masked.items import Item, Picture

ReadPicture = Callable[[str, int], NDArray[Any]]
"""Read picture number `index` of a slide as (H, W, 3), 0 to 255. Called from several threads."""

READERS = 2
AHEAD = 2
"""Batches read ahead."""

KEEP_BYTES = 2**29


class MaskedBatch(NamedTuple):
    """Items with their masks.

    Attributes:
        pictures: (B, M, 3, S, S) float32, normalised.
        masks: what is hidden of them.
        share: what part of all processes' step these items are, times the number of processes.
    """

    pictures: Tensor
    masks: Masks
    share: float


class Shown:
    """Show pictures as the encoder sees them, the first ones read kept in memory.

    Every epoch shows every picture, so that what is kept is shown again and again; what no longer
    fits is read anew each time.

    Args:
        spec: of the encoder: side, mean and spread.
        mask: what is hidden.
        patch_px: side of a patch.
        read: reads a picture.
        keep_bytes: how much is kept.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        mask: MaskOptions,
        patch_px: int,
        read: ReadPicture,
        keep_bytes: int = KEEP_BYTES,
    ) -> None:
        self._spec, self._mask, self._patch_px, self._read = spec, mask, patch_px, read
        self._kept: dict[Picture, Tensor] = {}
        self._room = keep_bytes // (12 * spec.input_px**2)

    def picture(self, picture: Picture, turn: int = 0) -> Tensor:
        """Return (3, S, S) float32, squeezed to the side and normalised as `Encoder` does.

        It is turned after that; see `turned`.
        """
        whole = self._kept.get(picture)
        if whole is None:
            whole = squeezed(self._spec, self._read(*picture))
            if len(self._kept) < self._room:
                self._kept[picture] = whole
        quarter = torch.rot90(whole, turn % 4, (1, 2))
        return quarter.flip(2) if turn >= 4 else quarter

    def masks(self, item: Item) -> Masks:
        """Draw what is hidden of an item."""
        return draw_masks(
            self._mask, self._spec.input_px // self._patch_px, 3 * self._patch_px**2,
            len(MAGNIFICATIONS), np.random.default_rng(item.seed),
        )  # fmt: skip

    def item(self, item: Item) -> tuple[Tensor, Masks]:
        """Return (M, 3, S, S) pictures of an item, and what is hidden of them."""
        pairs = zip(item.pictures, item.turns, strict=True)
        return torch.stack([self.picture(*pair) for pair in pairs]), self.masks(item)


def squeezed(spec: EncoderSpec, pixels: NDArray[Any]) -> Tensor:
    """Return (3, S, S) float32 from (H, W, 3), 0 to 255, as `Encoder` shows it to its network."""
    side = (spec.input_px, spec.input_px)
    shown = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float()[None]
    if shown.shape[-2:] != side:
        shown = F.interpolate(shown, side, mode="bilinear", antialias=True)
    mean, std = (torch.tensor(three).view(3, 1, 1) for three in (spec.mean, spec.std))
    return (shown[0] / 255 - mean) / std


class MaskedBatches:
    """Go through an epoch's items in steps whose sizes differ by one at most.

    Several processes take neighbouring parts of each step, so that a step is the one that a single
    process would take.

    Args:
        items: gives those of an epoch, counted from 0.
        shown: how pictures are shown.
        batch_size: items a step, of all processes together.
        share: which process this is.
    """

    batch_sampler = None
    """Lightning asks for it where there is a `sampler`."""

    def __init__(
        self,
        items: Callable[[int], list[Item]],
        shown: Shown,
        batch_size: int,
        share: Share = ALONE,
    ) -> None:
        self._items, self._shown, self._share = items, shown, share
        self._epoch = 0
        self._steps = -(-len(items(0)) // batch_size)

    @property
    def sampler(self) -> MaskedBatches:
        """What Lightning tells the epoch."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next pass shows; Lightning calls it, resumed fits included."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[MaskedBatch]:
        steps = list(self._own_parts(self._items(self._epoch)))
        with ThreadPoolExecutor(READERS, thread_name_prefix="pictures") as readers:
            waiting: deque[list[Future[tuple[Tensor, Masks]]]] = deque()
            try:
                for number, (_, share) in enumerate(steps):
                    for later, _ in steps[number + len(waiting) : number + 1 + AHEAD]:
                        waiting.append([readers.submit(self._shown.item, item) for item in later])
                    ready = [one.result() for one in waiting.popleft()]
                    yield MaskedBatch(
                        torch.stack([pictures for pictures, _ in ready]),
                        joined([masks for _, masks in ready]),
                        share,
                    )
            finally:
                for one in (one for batch in waiting for one in batch):
                    one.cancel()

    def _own_parts(self, items: list[Item]) -> Iterator[tuple[list[Item], float]]:
        """Yield this process's items of each step, and their weight.

        One left without an item takes the step's first one, which then counts for nothing.
        """
        rank, processes = self._share
        for step in np.array_split(np.arange(len(items)), self._steps):
            own = np.array_split(step, processes)[rank]
            weight = len(own) * processes / len(step)
            yield [items[n] for n in (own if len(own) else step[:1])], weight


class MaskedData(L.LightningDataModule):
    """Give Lightning the training and validation batches."""

    def __init__(self, train: MaskedBatches, val: MaskedBatches) -> None:
        super().__init__()
        self._train, self._val = train, val

    def train_dataloader(self) -> MaskedBatches:
        """Return the training batches."""
        return self._train

    def val_dataloader(self) -> MaskedBatches:
        """Return the validation batches."""
        return self._val
