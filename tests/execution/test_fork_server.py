"""Workers are forks of one server, which goes when this process goes, however it goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing import get_all_start_methods
from pathlib import Path

import psutil
import pytest

from tests.execution.conftest import wait_until
from wsikit.execution.fork_server import METHOD, environment, start_fork_server
from wsikit.execution.pool import Task, open_pool
from wsikit.execution.settings import WORKER_ENVIRONMENT

MODULE = "wsikit.phantoms.noise"
"""Nothing that a worker would import by itself."""

KILLED = f"""
import os, signal, psutil
from wsikit.execution.pool import open_pool
if __name__ == "__main__":
    with open_pool(2, preload=[{MODULE!r}]):
        print(*(child.pid for child in psutil.Process().children(recursive=True)), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""

FRESH = f"""
from tests.execution.test_fork_server import imported
from wsikit.execution.pool import Task, open_pool
if __name__ == "__main__":
    with open_pool(2, preload=[{MODULE!r}]) as pool:
        for n in range(4):
            pool.submit(Task(n, imported))
        print({{pool.next_done().result() for _ in range(4)}})
"""


INTERRUPTED = """
import time
from wsikit.execution.pool import Task, open_pool, prepare_pool
if __name__ == "__main__":
    prepare_pool(2, preload=["wsikit.stages.tiling.slide"])
    try:
        print("the server imports", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    with open_pool(2) as pool:
        pool.submit(Task("a", time.sleep, (0,)))
        pool.next_done()
        pool.submit(Task("b", time.sleep, (2,)))
        try:
            print("workers work", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
"""


def parents() -> tuple[int, int]:
    """Return the ids of a worker's parent and grandparent."""
    return os.getppid(), psutil.Process(os.getppid()).ppid()


def imported() -> bool:
    """Tell whether the module was there before anybody asked for it."""
    return MODULE in sys.modules


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, timeout=120, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.skipif(METHOD not in get_all_start_methods(), reason="no fork server on this system")
def test_workers_are_children_of_a_server_that_is_ours() -> None:
    with open_pool(2) as pool:
        for n in range(4):
            pool.submit(Task(n, parents))
        found = {pool.next_done().result() for _ in range(4)}
    assert len(found) == 1
    server, ours = found.pop()
    assert (server != os.getpid(), ours) == (True, os.getpid())


def test_workers_have_the_modules_from_the_start() -> None:
    done = run(FRESH)
    assert (done.stdout, done.stderr) == ("{True}\n", "")


def test_where_no_server_can_be_each_worker_imports_for_itself(tmp_path: Path) -> None:
    """The path of a socket has 108 bytes at most, which temporary folders of clusters exceed."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    done = run(FRESH, TMPDIR=str(deep))
    assert (done.stdout, done.stderr) == ("{True}\n", "")


def test_a_file_with_a_librarys_name_in_the_users_folder_is_not_imported(tmp_path: Path) -> None:
    script, here = tmp_path / "script" / "run.py", tmp_path / "here"
    for folder in (script.parent, here):
        folder.mkdir()
    script.write_text(FRESH.replace("tests.execution.test_fork_server", "elsewhere"))
    (script.parent / "elsewhere.py").write_text(
        f"import sys\ndef imported(): return {MODULE!r} in sys.modules\n"
    )
    for name in ("numpy", "distributed", "random", "wsikit"):
        (here / f"{name}.py").write_text(f"open('{name}.seen', 'w').close()\n")
    done = subprocess.run(
        [sys.executable, script], cwd=here, capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("{True}\n", "")
    assert list(here.glob("*.seen")) == []


def test_killed_it_leaves_no_process_behind() -> None:
    done = run(KILLED)
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) >= 3
    wait_until(lambda: not any(map(alive, pids)), 30)


def test_an_interrupt_from_the_terminal_is_heard_by_this_process_alone() -> None:
    """Not by the server, busy with its imports, nor by the workers that it became."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    for moment in ("the server imports", "workers work"):
        assert process.stdout.readline().strip() == moment
        time.sleep(0.4)  # by then a new process has put Python's handlers in place
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline().strip() == "interrupted"
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_module_that_is_not_there_is_left_to_the_workers() -> None:
    start_fork_server(["no_such_module"])


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with environment(WORKER_ENVIRONMENT):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
        assert "MALLOC_TRIM_THRESHOLD_" not in os.environ
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert os.environ["MALLOC_TRIM_THRESHOLD_"] == "65536"
    assert "MKL_NUM_THREADS" not in os.environ
