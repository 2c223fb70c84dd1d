"""Which bags a process takes, where several train one head together.

Bags are dealt out one by one in the order of the epoch, so that the bags of an optimiser step are
those that one process would have taken. Where they do not come out even, the last bag is given
once more to those left with nothing, and counts for nothing there: every process takes as many
steps, and none waits for another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torch.utils.data import Sampler

from wsikit.training.bags.bags import EpochSampler


class Share(NamedTuple):
    """A process among those that train together; by itself, all bags are its own.

    Attributes:
        rank: which it is, from 0.
        processes: how many there are.
    """

    rank: int = 0
    processes: int = 1

    def place(self, step: int) -> int:
        """Return where in the order of the epoch the bag of a step stands."""
        return step * self.processes + self.rank


ALONE = Share()


class ShareSampler(Sampler[int]):
    """Deal out an order of bags.

    Args:
        order: the order of all processes; where it depends on the epoch, it is told of it.
        bags: how many bags there are.
        share: whose bags to yield.
    """

    def __init__(self, order: Iterable[int], bags: int, share: Share) -> None:
        self._order = order
        self._bags = bags
        self._share = share

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch, counted from 0."""
        if isinstance(self._order, EpochSampler):
            self._order.set_epoch(epoch)

    def __len__(self) -> int:
        return -(-self._bags // self._share.processes)

    def __iter__(self) -> Iterator[int]:
        order = list(self._order)
        for step in range(len(self)):
            yield order[min(self._share.place(step), self._bags - 1)]
