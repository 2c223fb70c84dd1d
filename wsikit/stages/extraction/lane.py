"""One device's share of `extract`: batches in, whole slides' features out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Event
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from wsikit.errors import SlideError, StoreError
from wsikit.stages.extraction.plan import SlideWork
from wsikit.stages.extraction.record import Recorder
from wsikit.training.patches.encode_step import EncodeStep, Launched
from wsikit.training.patches.reader import PatchBatch


@dataclass
class _Bag:
    """The features of a slide as far as they are computed."""

    began: float
    rows: dict[str, NDArray[np.floating[Any]]] = field(default_factory=dict)


class Lane:
    """Compute slide after slide on one device.

    Args:
        step: the device and its encoders.
        recorder: receives finished slides and failures.
        dtype: `float16` or `float32`, what features are stored as.
        stop: set where the run ends early; the lane then ends after its batch.
    """

    def __init__(self, step: EncodeStep, recorder: Recorder, dtype: str, stop: Event) -> None:
        self._step, self._recorder, self._dtype, self._stop = step, recorder, dtype, stop
        self._launched: deque[tuple[PatchBatch, Launched, float]] = deque()
        self._bags: dict[str, _Bag] = {}

    def run(self, batches: Iterable[PatchBatch]) -> None:
        """Compute all batches.

        Args:
            batches: from a `PatchReader`; their readings are `SlideWork`.
        """
        for batch in batches:
            if self._stop.is_set():
                return
            self._launch(batch)
            while len(self._launched) > self._step.depth:
                self._collect(*self._launched.popleft())
        while self._launched:
            self._collect(*self._launched.popleft())

    def _launch(self, batch: PatchBatch) -> None:
        work = cast(SlideWork, batch.reading)
        if work.abandoned:
            batch.release()
            return
        since = time.perf_counter()
        bag = self._bags.setdefault(work.slide_id, _Bag(since))
        try:
            launched = self._step.launch(batch.pixels(), list(work.recipes))
        except (SlideError, StoreError, OSError, MemoryError) as error:
            batch.release()
            work.abandoned = True
            del self._bags[work.slide_id]
            self._recorder.failed(work, error, time.perf_counter() - bag.began)
        else:
            self._launched.append((batch, launched, since))

    def _collect(self, batch: PatchBatch, launched: Launched, since: float) -> None:
        work = cast(SlideWork, batch.reading)
        features = self._step.collect(launched)
        count, is_last = batch.stop - batch.start, batch.is_last
        batch.release()
        if work.abandoned:
            return
        bag = self._bags[work.slide_id]
        for encoder_id, values in features.items():
            if encoder_id not in bag.rows:
                bag.rows[encoder_id] = np.empty((work.patches, values.shape[1]), self._dtype)
            with np.errstate(over="ignore"):  # what overflows is found and named when it is written
                bag.rows[encoder_id][batch.start : batch.stop] = values
        self._recorder.computed(work, count, since)
        if is_last:
            del self._bags[work.slide_id]
            self._recorder.finished(work, bag.rows, time.perf_counter() - bag.began)
