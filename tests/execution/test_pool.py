"""Every pool runs every task once and hands back its result or its error."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from wsikit.errors import SlideError, UsageError
from wsikit.execution.pool import Pool, Task, open_pool


def double(value: int) -> int:
    if value == 3:
        raise SlideError("three.svs: broken", "leave it out")
    return 2 * value


def die() -> None:
    os._exit(9)


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


def test_a_dying_worker_fails_its_task_and_not_the_run() -> None:
    with open_pool(2) as pool:
        pool.submit(Task("bad", die))
        with pytest.raises(SlideError, match="worker died"):
            pool.next_done().result()
        pool.submit(Task("good", double, (1,)))
        assert pool.next_done().result() == 2


def test_an_absent_scheduler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsikit.execution.pool.CONNECT_SECONDS", 1)
    with (
        pytest.raises(UsageError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        open_pool(1, "tcp://127.0.0.1:9"),
    ):
        pass
