"""A Dask scheduler and workers of its own for a test, as a user starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import run_process, start, tree
from wsikit.phantoms.slide import write_phantom
from wsikit.phantoms.spec import PhantomSpec
from wsikit.types import Mpp, Size

SETTINGS = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",  # each death takes seconds
    "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "False",
}


def wait_until(seen: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something, not for ever."""
    end = time.monotonic() + seconds
    while not seen():
        if time.monotonic() > end:
            raise TimeoutError("it did not come")
        time.sleep(0.02)


class DaskHere:
    """`dask scheduler` and `dask worker` processes on loopback.

    Args:
        folder: for their files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start(
            "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address",
            "127.0.0.1:0", "--idle-timeout", "10 minutes",
            "--scheduler-file", str(folder / "scheduler.json"),
        )  # fmt: skip
        wait_until((folder / "scheduler.json").exists)
        wait_until(lambda: (folder / "scheduler.json").read_text().endswith("}"))
        self.address: str = json.loads((folder / "scheduler.json").read_text())["address"]

    def add_worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Start one worker of one thread, with its nanny."""
        return self._start(
            "dask_worker", self.address, "--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard",
            "--local-directory", str(self.folder), *options,
        )  # fmt: skip

    def stop(self) -> None:
        """End all of it."""
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)

    def _start(self, module: str, *options: str) -> subprocess.Popen[bytes]:
        log = self.folder / f"{module}-{len(self._started)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", *options],
                stdout=file,
                stderr=file,
                start_new_session=True,
                env={**os.environ, **SETTINGS},
            )
        self._started.append(process)
        return process


@pytest.fixture
def dask_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskHere]:
    """A scheduler without workers yet."""
    started = DaskHere(tmp_path_factory.mktemp("dask"))
    try:
        yield started
    finally:
        started.stop()


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def started() -> Iterator[Start]:
    """Start `wsikit ARGS...`; whatever becomes of the test, it ends with it."""
    running: list[subprocess.Popen[str]] = []

    def begin(*args: object) -> subprocess.Popen[str]:
        running.append(start(*args))
        return running[-1]

    yield begin
    for process in running:
        with process:  # closes its pipes
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small phantoms."""
    folder = tmp_path_factory.mktemp("slides")
    for n in range(6):
        spec = PhantomSpec(f"s{n}", Size(1300, 900), Mpp(0.5, 0.49), n, n % 2 == 1, "dune")
        write_phantom(spec, folder / f"s{n}.tiff")
    return folder


def tile_call(slides: Path, store: Path, *more: object) -> tuple[object, ...]:
    """Return the words of a command that takes some seconds."""
    return ("tile", *sorted(slides.glob("*.tiff")), "-o", store, "--set", "tile.size=32", *more)


@pytest.fixture(scope="session")
def serial(slides: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes of the slides."""
    store = tmp_path_factory.mktemp("serial") / "store"
    answer = run_process(*tile_call(slides, store, "-j", 1))
    assert answer.code == 0, answer.err
    return tree(store / "slides")
