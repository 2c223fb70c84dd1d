"""Ctrl-C while workers start ends the command in silence, however early it comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from wsikit.execution.interrupts import interrupts_wait

STARTING = """
from wsikit.execution.pool import open_pool
import wsikit.execution.local
if __name__ == "__main__":
    try:
        print("starting", flush=True)
        with open_pool(2):
            print("started", flush=True)
            input()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.parametrize("delay_s", [0.1, 0.4, 0.8, 1.2])
def test_an_interrupt_while_workers_start_is_quiet(delay_s: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STARTING], start_new_session=True, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "starting\n"
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out.removeprefix("started\n"), err) == (0, "interrupted\n", "")


def test_it_is_raised_at_the_end_of_the_block() -> None:
    before, done = signal.getsignal(signal.SIGINT), []

    def begin() -> None:
        with interrupts_wait():
            signal.raise_signal(signal.SIGINT)
            done.append("all")

    with pytest.raises(KeyboardInterrupt):
        begin()
    assert done == ["all"]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_of_the_block_goes_before_an_interrupt() -> None:
    def begin() -> None:
        with interrupts_wait():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("own")

    with pytest.raises(ValueError, match="own"):
        begin()


def test_another_thread_is_left_alone() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def other() -> None:
        with interrupts_wait():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [before]


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_wait():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
