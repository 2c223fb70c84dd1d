"""`wsikit tile --scheduler` on a real Dask scheduler: workers die, leave or never come."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import run_process, tree
from tests.execution.conftest import DaskHere, Start, tile_call, wait_until
from wsikit.errors import UsageError
from wsikit.execution.pool import PoolError, Task, open_pool

KILLER = """
import os, sys

def dask_setup(worker):
    sys.addaudithook(_hook)

def _hook(event, arguments):
    if event == "open" and str(arguments[0]).endswith("s3.tiff"):
        os.kill(os.getpid(), 9)
"""
"""A worker that dies whenever one slide is opened, as if for want of memory."""


@pytest.mark.slow
def test_a_worker_killed_mid_run_costs_nothing(
    dask_here: DaskHere, started: Start, slides: Path, serial: dict[str, bytes], tmp_path: Path
) -> None:
    victim, _ = dask_here.add_worker(), dask_here.add_worker()
    process = started(*tile_call(slides, tmp_path / "store", "--scheduler", dask_here.address))
    wait_until(lambda: any((tmp_path / "store" / "slides").glob("*.zarr")), 120)
    os.killpg(victim.pid, signal.SIGKILL)
    assert process.poll() is None, "it ended before the worker died"
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert "dashboard: http://" in err
    assert tree(tmp_path / "store" / "slides") == serial


@pytest.mark.slow
def test_a_slide_that_kills_workers_fails_alone(
    dask_here: DaskHere, slides: Path, serial: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "killer.py").write_text(KILLER)
    for _ in range(2):
        dask_here.add_worker("--preload", str(tmp_path / "killer.py"))
    store = tmp_path / "store"
    answer = run_process(*tile_call(slides, store, "--scheduler", dask_here.address))
    assert answer.code == 1, answer.err
    assert "error: s3: its worker died each time it was tried" in answer.err
    assert "5 done, 1 failed" in answer.err
    rest = {name: data for name, data in serial.items() if not name.startswith("s3.zarr")}
    assert tree(store / "slides") == rest
    again = run_process(*tile_call(slides, store, "-j", 1))
    assert again.code == 0, again.err
    assert tree(store / "slides") == serial


@pytest.fixture
def heard() -> list[str]:
    return []


def double(value: int) -> int:
    return 2 * value


def pause(seconds: float) -> None:
    time.sleep(seconds)


def test_workers_may_come_late_and_are_waited_for(
    dask_here: DaskHere, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsikit.execution.watch.SAY_SECONDS", 0.0)
    monkeypatch.setattr("wsikit.execution.watch.LOOK_SECONDS", 0.1)
    with open_pool(0, dask_here.address, say=heard.append) as pool:
        assert pool.slots == 2
        pool.submit(Task(1, double, (1,)))
        dask_here.add_worker("--nworkers", "2")
        assert pool.next_done().result() == 2
        wait_until(lambda: _round_trip(pool) and pool.slots == 4)
    waiting, come = heard[1:]
    assert waiting == f"waiting for workers: start some with 'dask worker {dask_here.address}'"
    assert come.startswith("workers have come: ")


def _round_trip(pool: object) -> bool:
    pool.submit(Task(0, double, (0,)))  # type: ignore[attr-defined]
    return pool.next_done().result() == 0  # type: ignore[attr-defined]


def test_no_worker_is_one_line_in_the_end(
    dask_here: DaskHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsikit.execution.watch.JOIN_SECONDS", 1.0)
    with open_pool(0, dask_here.address) as pool:
        pool.submit(Task(1, double, (1,)))
        with pytest.raises(PoolError, match=r"has had no worker for \d s: start some with"):
            pool.next_done()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_scheduler_is_one_line(
    dask_here: DaskHere, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsikit.execution.watch.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("wsikit.execution.watch.ANSWER_SECONDS", 2)
    dask_here.add_worker()
    with open_pool(0, dask_here.address) as pool:
        pool.submit(Task(1, pause, (60,)))
        os.killpg(dask_here.scheduler.pid, how)
        begun = time.monotonic()
        with pytest.raises(PoolError, match=r"connection to the Dask scheduler at .* is lost"):
            pool.next_done()
    assert time.monotonic() - begun < 20


def test_another_wsikit_is_refused(dask_here: DaskHere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsikit.execution.watch._own_versions", lambda packages: {"wsikit": "99.0"})
    monkeypatch.setattr("wsikit.execution.watch.LOOK_SECONDS", 0.1)
    dask_here.add_worker()
    with open_pool(0, dask_here.address) as pool:
        pool.submit(Task(1, pause, (60,)))
        with pytest.raises(UsageError, match=r"has wsikit .*, and this is wsikit 99\.0: install"):
            pool.next_done()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nothing://a:1", "tcp://127.0.0.1", ""])
def test_an_absent_scheduler_is_one_line(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsikit.execution.remote.CONNECT_SECONDS", 1)
    with pytest.raises(UsageError, match="no Dask scheduler answers at"), open_pool(1, address):
        pass


def test_a_stranger_at_the_address_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsikit.execution.remote.CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UsageError, match="no Dask scheduler answers"), open_pool(1, address):
            pass


def test_the_dashboard_is_not_promised_without_bokeh(
    dask_here: DaskHere, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    has: Callable[[object], bool] = lambda client: False  # noqa: E731
    monkeypatch.setattr("wsikit.execution.dashboard._has_bokeh", has)
    with open_pool(0, dask_here.address, say=heard.append):
        pass
    assert heard == []
