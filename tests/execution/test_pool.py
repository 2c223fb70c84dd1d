"""Every pool runs every task once and hands back its result or its error."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wsikit.errors import SlideError, UsageError
from wsikit.execution.local import GB, memory_limit
from wsikit.execution.pool import Pool, PoolError, Task, job_script, open_pool


def double(value: int) -> int:
    if value == 3:
        raise SlideError("three.svs: broken", "leave it out")
    return 2 * value


def die() -> None:
    time.sleep(0.2)  # so that others are queued behind it
    os._exit(9)


def not_there() -> None:
    import no_such_module  # type: ignore[import-not-found]  # noqa: F401


@pytest.fixture(scope="module", params=[1, 2], ids=["serial", "dask"])
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    with open_pool(request.param) as opened:
        yield opened


def test_results_and_errors_come_back_to_their_keys(pool: Pool) -> None:
    for value in range(6):
        pool.submit(Task(value, double, (value,)))
    found = {}
    for _ in range(6):
        task = pool.next_done()
        try:
            found[task.key] = task.result()
        except SlideError as error:
            found[task.key] = str(error)
    assert found == {0: 0, 1: 2, 2: 4, 3: "three.svs: broken: leave it out", 4: 8, 5: 10}


def test_more_can_be_submitted_after_results_were_taken(pool: Pool) -> None:
    for value in (4, 5):
        pool.submit(Task(value, double, (value,)))
        assert pool.next_done().result() == 2 * value


def test_a_task_that_kills_workers_fails_and_those_beside_it_do_not() -> None:
    """Dask blames all tasks that were with the dead workers; only one of them did it."""
    tasks = [Task("bad", die), *(Task(n, double, (n,)) for n in (4, 5, 6, 7))]
    with open_pool(2) as pool:
        assert pool.slots == 4
        for task in tasks[: pool.slots]:
            pool.submit(task)
        found: dict[object, object] = {}
        while len(found) < len(tasks):
            task = pool.next_done()
            try:
                found[task.key] = task.result()
            except SlideError as error:
                found[task.key] = str(error)
            if len(found) == 1:
                pool.submit(tasks[-1])
    assert str(found.pop("bad")).startswith("its worker died each time it was tried")
    assert found == {4: 8, 5: 10, 6: 12, 7: 14}


def test_workers_without_a_module_end_the_run_in_one_line() -> None:
    with open_pool(2) as pool:
        pool.submit(Task("x", not_there))
        with pytest.raises(PoolError, match="workers cannot import no_such_module: install"):
            pool.next_done()


def environment() -> dict[str, str]:
    return dict(os.environ)


def test_workers_have_one_thread_each_and_this_process_keeps_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)
    with open_pool(2) as pool:
        pool.submit(Task("environment", environment))
        found = pool.next_done().result()
    assert found["OMP_NUM_THREADS"] == found["MKL_NUM_THREADS"] == "1"
    assert "MALLOC_TRIM_THRESHOLD_" not in found
    assert "OMP_NUM_THREADS" not in os.environ


def test_the_dashboard_is_said() -> None:
    heard: list[str] = []
    with open_pool(2, say=heard.append):
        pass
    assert [line.rpartition(":")[0] for line in heard] == ["dashboard: http://127.0.0.1"]


def test_without_bokeh_there_is_no_dashboard_and_no_warning() -> None:
    code = (
        "import sys; sys.modules['bokeh'] = None\n"
        "if __name__ == '__main__':\n"
        "    from wsikit.execution.pool import open_pool\n"
        "    with open_pool(2, say=print) as pool: print(pool.slots)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")


def test_memory_is_shared_out_and_little_memory_is_said() -> None:
    heard: list[str] = []
    assert memory_limit(4, 16 * GB, heard.append) == 4 * GB
    assert heard == []
    assert memory_limit(32, 32 * GB, heard.append) == 3 * GB // 2
    assert "32 workers share 32.0 GB" in heard[0]
    assert heard[0].endswith("use --workers 21")


def test_scheduler_and_slurm_exclude_each_other() -> None:
    with (
        pytest.raises(UsageError, match="exclude each other"),
        open_pool(1, "tcp://127.0.0.1:9", slurm=Path("x.yaml")),
    ):
        pass


def test_slurm_without_dask_jobqueue_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    monkeypatch.setitem(sys.modules, "dask_jobqueue.slurm", None)
    monkeypatch.delitem(sys.modules, "wsikit.execution.slurm", raising=False)
    slurm = Path(__file__).parents[2] / "configs" / "slurm.yaml"
    said = r"--slurm needs dask-jobqueue, which is not installed: pip install 'wsikit\[cluster\]'"
    with pytest.raises(UsageError, match=said):
        job_script(slurm)
    with pytest.raises(UsageError, match=said), open_pool(1, slurm=slurm):
        pass
