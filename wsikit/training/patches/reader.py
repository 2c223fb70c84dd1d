"""Decode stored patches ahead of a network, by one pool of threads for a whole cohort.

A loader made anew for each slide leaves the network waiting at every border: its workers start,
open the slide and decode a first batch while nothing is computed. Here the next slide is opened and
decoded while the one before it is still being computed, by threads that outlive both. They are
threads and not processes because decoding holds no interpreter lock: patches are decoded where
they will be used, nothing is copied between processes, and nothing is started or imported again
(docs/design/002-what-we-tried.md has the measurements).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Semaphore, Thread
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsikit.errors import WsikitError
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.training.patches.network_input import input_dtype, read_network_input
from wsikit.training.patches.slide_queue import SlideQueue, SlideReading
from wsikit.types import Size

PIECE = 4
"""Patches a thread decodes at a time, so that all of them share a batch."""


@dataclass(eq=False)
class PatchBatch:
    """Consecutive patches of one slide, being decoded or decoded.

    A batch never holds patches of two slides: so which slides are read with it, and in which order,
    cannot change the rounding of what is computed from it.

    Attributes:
        reading: what the slide was asked for by.
        slide: the slide; None where it cannot be opened.
        start: index of the first patch.
        stop: index after the last one.
    """

    reading: SlideReading
    slide: StoredSlide | None
    start: int
    stop: int
    _buffer: Tensor | None = field(repr=False)
    _parts: list[Future[None]] = field(repr=False)
    _spare: list[Tensor] = field(repr=False)

    @property
    def is_last(self) -> bool:
        """Whether the slide ends here."""
        return self.slide is None or self.stop == len(self.slide.patches)

    def pixels(self) -> Tensor:
        """Wait for the patches.

        Returns:
            (B, 3, H, W) on the CPU, its memory in the order (B, H, W, 3): uint8 RGB, or of 16-bit
            grey float32 from 0 to 255. It is written over after `release`.

        Raises:
            StoreError: the slide cannot be opened, or one of these patches is damaged.
        """
        for part in self._parts:
            part.result()
        if self._buffer is None:
            raise RuntimeError("the batch was released")
        return self._buffer[: self.stop - self.start].permute(0, 3, 1, 2)

    def release(self) -> None:
        """Give the memory back for a later batch; what is still to be decoded is not."""
        for part in self._parts:
            if not part.cancel():
                part.exception()  # waits: a thread may be writing into the memory
        if self._buffer is not None:
            self._spare.append(self._buffer)
            self._buffer = None


class PatchReader:
    """Hold the threads that decode patches of a store.

    Args:
        store: the store.
        threads: how many, at least 1.
    """

    def __init__(self, store: Store, threads: int) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="patches")
        self._feeds: list[_Feed] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for feed in self._feeds:
            feed.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def batches(
        self, slides: SlideQueue, size: int, ahead: int, pinned: bool = False
    ) -> Iterator[PatchBatch]:
        """Read slides in batches, each slide's patches in index order: shard by shard.

        Several callers may read from one queue; each slide goes to one of them.

        Args:
            slides: what to read; it may still be filled.
            size: patches a batch; the last one of a slide may have fewer.
            ahead: batches decoded beyond the one asked for. With 0 a batch is decoded, by all
                threads, when it is asked for.
            pinned: decode into page-locked memory, from which a GPU copies on its own.

        Returns:
            The batches. Each holds `size` patches of memory until it is released.
        """
        feed = _Feed(self._store, self._pool, slides, size, ahead, pinned)
        self._feeds.append(feed)
        return feed


class _Feed(Iterator[PatchBatch]):
    """Keep batches of one consumer in flight, from a thread that opens slide after slide."""

    def __init__(
        self,
        store: Store,
        pool: ThreadPoolExecutor,
        slides: SlideQueue,
        size: int,
        ahead: int,
        pinned: bool,
    ) -> None:
        self._store, self._pool, self._slides = store, pool, slides
        self._size, self._pinned = size, pinned
        self._allowed = Semaphore(ahead)
        self._scheduled: SimpleQueue[PatchBatch | BaseException | None] = SimpleQueue()
        self._spare: list[Tensor] = []
        self._stopped = False
        self._thread = Thread(target=self._schedule_all, name="open slides")
        self._thread.start()

    def __next__(self) -> PatchBatch:
        self._allowed.release()
        batch = self._scheduled.get()
        if isinstance(batch, PatchBatch):
            return batch
        self._scheduled.put(batch)  # for whoever asks again
        raise StopIteration if batch is None else batch

    def stop(self) -> None:
        """Schedule no more."""
        self._stopped = True
        self._slides.close()
        self._allowed.release()
        self._thread.join()

    def _schedule_all(self) -> None:
        try:
            while not self._stopped and (reading := self._slides.take()):
                self._schedule(reading)
        except BaseException as error:  # raised where the batches are asked for
            self._scheduled.put(error)
        else:
            self._scheduled.put(None)

    def _schedule(self, reading: SlideReading) -> None:
        """Have a slide's batches decoded, each when it is its turn."""
        try:
            slide = self._store.slide(reading.slide_id)
            count, dtype = len(slide.patches), input_dtype(slide)
        except (WsikitError, OSError) as error:
            failed = Future[None]()
            failed.set_exception(error)
            self._allowed.acquire()
            self._scheduled.put(PatchBatch(reading, None, 0, 0, None, [failed], self._spare))
            return
        for start in range(0, max(1, count), self._size):
            self._allowed.acquire()
            if self._stopped or reading.abandoned:
                self._allowed.release()
                return
            stop = min(start + self._size, count)
            self._scheduled.put(self._batch(reading, slide, dtype, start, stop))

    def _batch(
        self, reading: SlideReading, slide: StoredSlide, dtype: np.dtype[Any], start: int, stop: int
    ) -> PatchBatch:
        buffer = self._buffer(slide.patch_size, dtype)
        pixels = buffer.numpy()
        pieces = [range(i, min(i + PIECE, stop)) for i in range(start, stop, PIECE)]
        parts = [
            self._pool.submit(_decode, slide, piece, pixels[piece.start - start :])
            for piece in pieces
        ]
        return PatchBatch(reading, slide, start, stop, buffer, parts, self._spare)

    def _buffer(self, patch: Size, dtype: np.dtype[Any]) -> Tensor:
        shape = (self._size, patch.height, patch.width, 3)
        kind = torch.float32 if dtype == np.float32 else torch.uint8
        while self._spare:
            buffer = self._spare.pop()
            if (buffer.shape, buffer.dtype) == (shape, kind):
                return buffer
        return torch.empty(shape, dtype=kind, pin_memory=self._pinned)


def _decode(slide: StoredSlide, patches: range, into: NDArray[Any]) -> None:
    for place, index in enumerate(patches):
        into[place] = read_network_input(slide, index)
