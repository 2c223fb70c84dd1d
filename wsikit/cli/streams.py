"""The caller's standard streams, which may be closed, or lie on a disk that is full."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

_MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}


def open_closed_streams() -> None:
    """Let what is closed of the standard streams lead nowhere.

    Else the next file that is opened gets its number, and a library's message is written into it.
    """
    for number, (name, mode) in enumerate(_MODES.items()):
        if getattr(sys, name) is not None:
            continue
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)
        setattr(sys, name, open(number, mode))  # noqa: SIM115 - it stays open


def let_go_of(name: str) -> None:
    """Let a stream that cannot be written lead nowhere from now on.

    Args:
        name: `stdout` or `stderr`.
    """
    stream = getattr(sys, name)
    setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - it stays open
    with suppress(OSError):  # what it still holds cannot be written either
        stream.close()
