"""Show progress and errors: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from wsikit.cli.streams import let_go_of
from wsikit.errors import WsikitError

if TYPE_CHECKING:
    from wsikit.stages.progress import Outcome, Progress


TICK_SECONDS = 60.0
"""How long a log stays silent while small units are finished."""


class LineProgress:
    """Write one line a finished unit, for logs."""

    def __init__(self) -> None:
        self._stage, self._total, self._done = "", 0, 0
        self._said = 0.0

    def start(self, stage: str, total: int) -> None:
        """Announce a stage."""
        self._stage, self._total, self._done = stage, total, 0
        self.say(f"{stage}: {total} to do")

    def advance(self, label: str, units: int = 1) -> None:
        """Report finished units."""
        self._done += units
        self.say(f"{self._stage} {self._done}/{self._total}  {label}")

    def tick(self, label: str, units: int = 1) -> None:
        """Count finished units, and report them where the last line is a minute old."""
        if time.monotonic() - self._said >= TICK_SECONDS:
            self.advance(label, units)
        else:
            self._done += units

    def say(self, line: str) -> None:
        """Write a line."""
        self._said = time.monotonic()
        say(line)

    def finish(self) -> None:
        """End the stage."""


class BarProgress:
    """Draw a progress bar, failures above it."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._bar: Any = None
        self._task: Any = None

    def start(self, stage: str, total: int) -> None:
        """Announce a stage."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[label]}", markup=False),
            console=self._console,
        )
        self._task = self._bar.add_task(stage.partition(".")[0], total=total, label="")
        self._bar.start()

    def advance(self, label: str, units: int = 1) -> None:
        """Report finished units."""
        if "FAILED" in label or "FLAGGED" in label:
            self.say(label)
        self.tick(label, units)

    def tick(self, label: str, units: int = 1) -> None:
        """Move the bar."""
        self._bar.update(self._task, advance=units, label=label[:60])

    def say(self, line: str) -> None:
        """Write a line above the bar."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def finish(self) -> None:
        """End the stage."""
        self._bar.update(self._task, label="")
        self._bar.stop()


def make_progress() -> Progress:
    """Return a bar on a terminal, plain lines otherwise."""
    return BarProgress() if sys.stderr.isatty() else LineProgress()


def say(line: str) -> None:
    """Write a line to stderr, where it does not mix with results.

    A disk that is full under a log is no reason to leave work undone: the exit code tells.
    """
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        let_go_of("stderr")


def print_error(error: WsikitError) -> None:
    """Write an error as one line."""
    say(f"error: {error}")


def exit_code(outcome: Outcome, stage: str) -> int:
    """Sum up a stage on stderr; 1 if a slide failed, each one named, else 0."""
    say(f"{stage}: {outcome.summary()}")
    for slide_id, reason in sorted(outcome.failed.items()):
        say(f"error: {slide_id}: {reason}")
    return 1 if outcome.failed else 0
