"""Report a stage in patches, with their rate, though slides are what gets finished."""

from __future__ import annotations

import time

from wsikit.stages.progress import Progress

TOLD_SECONDS = 10.0
"""How often a slide that takes longer is reported on."""


class PatchProgress:
    """Count patches and pass them on now and then. For one thread.

    Args:
        progress: told in patches.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._of_slide: dict[str, int] = {}
        self._computed = self._untold = 0
        self._began = self._told = 0.0

    def count(self, slide_id: str, patches: int, of: int, since: float) -> None:
        """Take note of computed patches.

        Args:
            slide_id: whose they are.
            patches: how many.
            of: how many the slide has.
            since: when work on them began, by `time.perf_counter`; the first one starts the clock.
        """
        self._began, self._told = self._began or since, self._told or since
        done = self._of_slide[slide_id] = self._of_slide.get(slide_id, 0) + patches
        self._computed += patches
        self._untold += patches
        if done < of and time.perf_counter() - self._told >= TOLD_SECONDS:
            self._tell(f"{slide_id}: {done} of {of} patches")

    def end(self, slide_id: str, of: int, words: str) -> None:
        """Report a slide that is finished, or will not be; what it lacks counts as passed."""
        self._untold += of - self._of_slide.pop(slide_id, 0)
        self._tell(f"{slide_id}: {words}")

    def _tell(self, words: str) -> None:
        self._told = time.perf_counter()
        if self._computed:
            words += f" ({self._computed / (self._told - self._began):.3g} patches/s)"
        self._progress.advance(words, self._untold)
        self._untold = 0
