"""Read the next bags while a head learns from this one."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import ClassVar, Protocol

import torch

from wsikit.training.bags.bags import BagDataset, LabelledBag, bag_bytes

READERS = 1
"""Threads that read where training takes the same cores: a second one cost a sixth more processor
time, and the first already hides all reading."""

GPU_READERS = 8
"""Where it does not: a GPU learns from a bag several times faster than a thread reads one."""

AHEAD = 2
"""Bags read ahead at most, for each reader."""

AHEAD_BYTES = 512 * 2**20


class Order(Protocol):
    """Which bags an epoch visits, by number."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[int]: ...


class BagLoader:
    """Hand out bags in a sampler's order, the next ones being read by threads meanwhile.

    What is handed out, and in which order, is the same as without threads, so a fit's outcome is
    the same too, bit for bit. Memory is bounded: beside the bag handed out last, as many bags are
    read or held as fit a budget, by the largest bag met so far; one always is. On a GPU the threads
    also copy each bag there, so that the budget holds for the GPU too, and training waits for
    neither disk nor bus. A reader's error is raised where its bag would have been handed out.

    Lightning takes it for a data loader: it has a length and a `sampler` that can be told the
    epoch.

    Args:
        bags: what to read from.
        sampler: the order; iterated anew each epoch.
        device: where bags are wanted.
        ahead_bytes: the budget.

    Attributes:
        waited: seconds that whoever iterates has waited for a bag so far.
    """

    batch_sampler: ClassVar[None] = None  # Lightning looks for one where there is a sampler

    def __init__(
        self,
        bags: BagDataset,
        sampler: Order,
        device: torch.device,
        ahead_bytes: int = AHEAD_BYTES,
    ) -> None:
        self.sampler = sampler
        self.waited = 0.0
        self._bags = bags
        self._device = device
        self._ahead_bytes = ahead_bytes
        self._largest = 0
        cores = os.cpu_count() or READERS
        self._readers = READERS if device.type == "cpu" else max(READERS, min(GPU_READERS, cores))

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[LabelledBag]:
        """Yield the bags of one epoch."""
        device = self._device
        if device.type == "cuda":  # threads have a current GPU of their own: name this one's
            device = torch.device("cuda", torch.cuda.current_device())
        order = iter(self.sampler)
        reading: deque[Future[LabelledBag]] = deque()
        pool = ThreadPoolExecutor(self._readers, thread_name_prefix="bags")
        try:
            for index in islice(order, self._readers):
                reading.append(pool.submit(self._read, index, device))
            while reading:
                start = time.perf_counter()
                item = reading.popleft().result()
                self.waited += time.perf_counter() - start
                self._largest = max(self._largest, bag_bytes(item.bag))
                for index in islice(order, max(0, self._most_ahead() - len(reading))):
                    reading.append(pool.submit(self._read, index, device))
                yield item
                del item  # so that it is not held while the next is waited for
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _most_ahead(self) -> int:
        return max(1, min(AHEAD * self._readers, self._ahead_bytes // self._largest))

    def _read(self, index: int, device: torch.device) -> LabelledBag:
        item = self._bags[index]
        return item if device.type == "cpu" else item._replace(bag=item.bag.to(device))
