"""Run tasks on Dask workers, whatever becomes of the workers."""

from __future__ import annotations

from collections import deque
from queue import Empty, SimpleQueue
from typing import Any

from distributed.scheduler import KilledWorker

from wsikit.errors import SlideError
from wsikit.execution.supply import Supply
from wsikit.execution.task import Pool, PoolError, Task
from wsikit.execution.watch import Say, Watch

TICK_SECONDS = 0.5
"""How long to wait for a result before looking whether anybody still works on it."""


class DaskPool(Pool):
    """Run tasks on the workers of a Dask client.

    Two tasks a worker thread are kept in flight: one runs, the next is already there.

    When a worker dies, Dask gives its tasks to others, and after some deaths it blames *all* tasks
    that the dead workers had in hand. So a blamed task is not failed yet: submission stops, what is
    in flight comes in, and each blamed task runs again with no other beside it. Only one over which
    workers die then, too, is failed. This also helps where several large tasks together were
    too much for the memory and each alone is not.

    Args:
        client: a connected `distributed.Client`.
        supply: where its workers come from.
        say: told what the user should see.

    Raises:
        PoolError: the scheduler is lost.
        UsageError: the workers have another wsikit.
    """

    def __init__(self, client: Any, supply: Supply, say: Say) -> None:
        self._client = client
        self._watch = Watch(client, supply, say)
        self._ended: SimpleQueue[Any] = SimpleQueue()
        self._flying: dict[str, tuple[Task, Any]] = {}
        self._blamed: deque[Task] = deque()
        self._held: deque[Task] = deque()
        self._alone = False
        self._watch.look()

    @property
    def slots(self) -> int:
        """Two for each thread of the workers that are there or will come."""
        return 2 * max(1, self._watch.threads)

    def submit(self, task: Task) -> None:
        """Send a task to the scheduler, at the latest when no blamed task is left."""
        if self._blamed or self._alone:
            self._held.append(task)
        else:
            self._send(task)

    def next_done(self) -> Task:
        """Wait for any task to end."""
        while True:
            if self._blamed and not self._flying:
                self._alone = True
                self._send(self._blamed.popleft())
            future = self._next_ended()
            task = self._settle(future)
            if task is not None:
                return task

    def _send(self, task: Task) -> None:
        future = self._client.submit(task.call, *task.arguments, pure=False)
        self._flying[future.key] = (task, future)
        future.add_done_callback(self._ended.put)

    def _next_ended(self) -> Any:
        while True:
            self._watch.look()
            try:
                return self._ended.get(timeout=TICK_SECONDS)
            except Empty:
                continue

    def _settle(self, future: Any) -> Task | None:
        """Take a future's outcome; None where its task is not at its end yet."""
        task, _ = self._flying[future.key]
        if future.status == "cancelled":  # Dask does that when it loses the scheduler
            raise self._watch.lost()
        if future.status == "error":
            error = future.exception()
            if isinstance(error, KilledWorker) and not self._alone:
                self._blamed.append(self._flying.pop(future.key)[0])
                return None
            _blame(task, future, error)
        else:
            try:
                value = future.result(timeout=TICK_SECONDS)
            except TimeoutError:  # its worker died with the result: it is being made again
                future.add_done_callback(self._ended.put)
                return None
            task.settle(lambda: value)
        del self._flying[future.key]
        if self._alone:
            self._resume()
        return task

    def _resume(self) -> None:
        """A blamed task has ended: go on with the next, or with everything else."""
        self._alone = False
        while self._held and not self._blamed:
            self._send(self._held.popleft())


def _blame(task: Task, future: Any, error: BaseException) -> None:
    """Settle a task that failed."""
    if isinstance(error, KilledWorker):
        killed = SlideError(
            "its worker died each time it was tried, most likely for want of memory",
            "give workers more memory, or use fewer --workers or a smaller tile.size",
        )
        task.settle(lambda: _raise(killed))
    elif isinstance(error, ModuleNotFoundError):
        raise PoolError(
            f"the workers cannot import {error.name}",
            "install the same wsikit where they run, with all it needs",
        )
    else:
        task.settle(future.result)


def _raise(error: Exception) -> None:
    raise error
