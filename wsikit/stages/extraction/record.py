"""Write finished features and what became of each slide, in a thread of its own.

A GPU would otherwise wait at the end of each slide until its features are on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsikit.encoders.encoder import Encoder
from wsikit.errors import SlideError, WsikitError
from wsikit.stages.extraction.patch_progress import PatchProgress
from wsikit.stages.extraction.plan import SlideWork
from wsikit.stages.progress import Outcome, Progress
from wsikit.stages.slide_loop import note_done
from wsikit.store.derived_writer import write_features
from wsikit.store.status import StageStatus, State
from wsikit.store.store import Store

Features = Mapping[str, NDArray[np.floating[Any]]]

BACKLOG = 16
"""Finished slides that may wait to be written: the features of many more could fill the memory."""


class Recorder:
    """Record outcomes one after the other, whichever thread they come from.

    What cannot be recorded, as on a full disk, is raised by the next call.

    Args:
        store: the store, locked by the caller.
        encoders: encoder id -> encoder.
        progress: told in patches; only ever called from the recorder's own thread.
    """

    def __init__(self, store: Store, encoders: Mapping[str, Encoder], progress: Progress) -> None:
        self.outcome = Outcome()
        self._store, self._encoders = store, encoders
        self._progress, self._patches = progress, PatchProgress(progress)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="record")
        self._room = BoundedSemaphore(BACKLOG)
        self._error: BaseException | None = None

    def begin(self, patches: Future[int]) -> None:
        """Announce the stage once it is known how many patches it has; the rest follows then."""
        stage = f"extract.{next(iter(self._encoders))}" if len(self._encoders) == 1 else "extract"
        self._submit(lambda: self._progress.start(stage, patches.result()))

    def say(self, line: str) -> None:
        """Pass a line on to the user."""
        self._submit(lambda: self._progress.say(line))

    def passed_over(self, work: SlideWork) -> None:
        """Record a slide of which nothing is to be computed."""
        self._submit(lambda: self._pass_over(work))

    def failed(self, work: SlideWork, error: BaseException, seconds: float = 0.0) -> None:
        """Record that a slide cannot be done.

        Args:
            work: the slide.
            error: why.
            seconds: wall time spent on it.
        """
        reason = str(error) or type(error).__name__
        self._submit(lambda: self._fail(work, reason, seconds))

    def computed(self, work: SlideWork, patches: int, since: float) -> None:
        """Count patches on which work began at `since`, by `time.perf_counter`."""
        self._submit(lambda: self._patches.count(work.slide_id, patches, work.patches, since))

    def finished(self, work: SlideWork, features: Features, seconds: float) -> None:
        """Write a slide's features; waits where those of many slides are still to be written.

        Features of no patch wait for nothing: they may come before it is known how many patches
        there are in all, and until then nothing is written.

        Args:
            work: the slide, and the recipe ids of its features.
            features: encoder id -> (N, D) float16 or float32.
            seconds: wall time spent on it.
        """
        if work.patches:
            self._room.acquire()
        self._submit(lambda: self._finish(work, features, seconds))

    def close(self) -> None:
        """Wait until all is recorded, and end the stage.

        Raises:
            WsikitError: something could not be recorded.
        """
        self._thread.submit(self._run, self._progress.finish)
        self._thread.shutdown(wait=True)
        for slides in (self.outcome.done, self.outcome.skipped, self.outcome.empty):
            slides.sort()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _submit(self, call: Callable[[], None]) -> None:
        self._check()
        self._thread.submit(self._run, call)

    def _run(self, call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:  # `_check` raises it where somebody can act on it
            self._error = self._error or error

    def _pass_over(self, work: SlideWork) -> None:
        if not work.refused:
            self.outcome.skipped.append(work.slide_id)
        self._settle(work, "already done")

    def _fail(self, work: SlideWork, reason: str, seconds: float) -> None:
        undone = work.recipes or (() if work.refused else self._encoders)
        for encoder_id in undone:
            self._set_status(work, encoder_id, "failed", seconds, reason)
        self._settle(work, "", reason)

    def _finish(self, work: SlideWork, features: Features, seconds: float) -> None:
        try:
            for encoder_id, values in features.items():
                self._write(work, encoder_id, values)
        except (WsikitError, OSError, MemoryError) as error:
            self._fail(work, str(error) or type(error).__name__, seconds)
            return
        finally:
            if work.patches:
                self._room.release()
        for encoder_id in features:
            self._set_status(work, encoder_id, "done" if work.patches else "empty", seconds)
        if not work.refused:
            slides = self.outcome.done if work.patches else self.outcome.empty
            slides.append(work.slide_id)
        self._settle(work, _described(features) if work.patches else "no patches")

    def _write(self, work: SlideWork, encoder_id: str, values: NDArray[np.floating[Any]]) -> None:
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            index = self._store.slide(work.slide_id).patches
            raise SlideError(
                f"{len(bad)} patches have features by {encoder_id} that are not finite "
                f"(row {index.row[bad[0]]}, column {index.col[bad[0]]})",
                "set extract.dtype=float32 and extract.precision=fp32",
            )
        encoder = self._encoders[encoder_id]
        attributes = {
            "recipe_id": work.recipes[encoder_id],
            "encoder": encoder.spec.name,
            "weights": encoder.weights,
        }
        write_features(self._store, work.slide_id, encoder_id, values, attributes)

    def _set_status(
        self, work: SlideWork, encoder_id: str, state: State, seconds: float, reason: str = ""
    ) -> None:
        recipe = work.recipes.get(encoder_id, "")
        status = StageStatus(state, recipe, reason, round(seconds, 3))
        self._store.set_status(work.slide_id, f"extract.{encoder_id}", status)

    def _settle(self, work: SlideWork, words: str, *reasons: str) -> None:
        """End a slide: failed where there is a reason, whatever else was done of it."""
        for encoder_id, reason in work.refused.items():
            self._set_status(work, encoder_id, "failed", 0.0, reason)
        for encoder_id, recipe in work.present.items():
            state: State = "empty" if work.is_empty else "done"
            note_done(self._store, work.slide_id, f"extract.{encoder_id}", recipe, state)
        why = "; ".join((*reasons, *work.refused.values()))
        if why:
            self.outcome.failed[work.slide_id] = why
        self._patches.end(work.slide_id, work.patches, f"FAILED: {why}" if why else words)


def _described(features: Features) -> str:
    counts = {len(values) for values in features.values()}
    widths = " + ".join(str(values.shape[1]) for values in features.values())
    return f"{counts.pop()} features of {widths}"
