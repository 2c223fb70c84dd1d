"""Hold Ctrl-C back while something is half begun."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Let an interrupt be raised at the end of this block, not in the midst of it.

    A library that is interrupted while it starts processes and threads may leave them half begun,
    and tell of each. Nothing is done where interrupts do not come anyway: in a thread other than
    the main one, and in a process that was started to ignore them, as a script's background job.

    Raises:
        KeyboardInterrupt: at the end, where there was one.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    heard: list[int] = []

    def hear(number: int, _frame: Any) -> None:
        heard.append(number)

    signal.signal(signal.SIGINT, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if heard:
        raise KeyboardInterrupt
