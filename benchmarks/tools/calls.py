"""Start a process, wait for it, and say in one line what went wrong."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

TIMEOUT_S = 1200


class ToolError(Exception):
    """A tool did not do its job; the message says why."""


def call(command: Sequence[str], folder: Path | None = None) -> str:
    """Run a command and return what it printed.

    Args:
        command: what to run.
        folder: where it runs, since some tools leave logs there.

    Raises:
        ToolError: it failed, or took longer than `TIMEOUT_S`.
    """
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"took longer than {TIMEOUT_S} s") from None
    except OSError as error:
        raise ToolError(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        raise ToolError(_telling_line(done.stderr) or f"exit status {done.returncode}")
    return done.stdout


def _telling_line(text: str) -> str:
    """Return the line of an error text that says most: what stopped it, not who noticed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("fatal:")]
    named = [line for line in lines if "error" in line.partition(" ")[0].lower()]
    return (fatal or named or lines or [""])[-1][:300]


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Keep this process, and what it starts, on the first `count` of its cores."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
