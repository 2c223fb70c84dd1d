"""Hand out tasks and take results as they come, a bounded number at a time.

A stage never builds a graph of all its work: it keeps `slots` tasks in flight and decides what to
submit next when one is done. So memory on the scheduler does not grow with the cohort.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from wsikit.errors import SlideError, UsageError

CONNECT_SECONDS = 20
"""How long to try to reach a scheduler."""

WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1}
"""What local workers start with, in place of Dask's own settings.

One thread each, as Dask has it, but without its MALLOC_TRIM_THRESHOLD_: that makes the allocator
hand every large array back to the system at once, and drawing or tiling pays for the page faults
(drawing phantoms took 4 times as long).
"""


@dataclass(eq=False)
class Task:
    """One piece of work.

    Attributes:
        key: what the submitter knows it by.
        call: a function importable by the workers.
        arguments: its positional arguments, picklable.
    """

    key: Any
    call: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    _outcome: Callable[[], Any] | None = field(default=None, repr=False)

    def result(self) -> Any:
        """Return what the call returned, or raise what it raised."""
        if self._outcome is None:
            raise RuntimeError("the task has not run")
        return self._outcome()

    def settle(self, outcome: Callable[[], Any]) -> None:
        """Say how to get the result; called once, by the pool."""
        self._outcome = outcome


class Pool(ABC):
    """Run tasks.

    Attributes:
        slots: how many tasks are worth keeping in flight.
    """

    slots: int

    @abstractmethod
    def submit(self, task: Task) -> None:
        """Take a task on."""

    @abstractmethod
    def next_done(self) -> Task:
        """Wait for any submitted task to end, in no set order, and return it."""


class SerialPool(Pool):
    """Run each task in this process when its result is asked for."""

    slots = 1

    def __init__(self) -> None:
        self._waiting: deque[Task] = deque()

    def submit(self, task: Task) -> None:
        """Queue a task."""
        self._waiting.append(task)

    def next_done(self) -> Task:
        """Return the oldest task; it runs when its result is taken."""
        task = self._waiting.popleft()
        task.settle(lambda: task.call(*task.arguments))
        return task


class DaskPool(Pool):
    """Run tasks on the workers of a Dask client.

    Args:
        client: a connected `distributed.Client`.
    """

    def __init__(self, client: Any) -> None:
        from distributed import as_completed

        self._client = client
        self._done = as_completed()
        self._tasks: dict[str, Task] = {}
        threads = sum(client.nthreads().values())
        self.slots = 2 * max(1, threads)

    def submit(self, task: Task) -> None:
        """Send a task to the scheduler."""
        future = self._client.submit(task.call, *task.arguments, pure=False)
        self._tasks[future.key] = task
        self._done.add(future)

    def next_done(self) -> Task:
        """Wait for any task to end."""
        future = next(self._done)
        task = self._tasks.pop(future.key)
        task.settle(lambda: _take(future))
        return task


def _take(future: Any) -> Any:
    from distributed.scheduler import KilledWorker

    try:
        return future.result()
    except KilledWorker:
        raise SlideError(
            "its worker died several times, most likely for want of memory",
            "use fewer --workers, or a smaller tile.size",
        ) from None


@contextmanager
def open_pool(workers: int, scheduler: str | None = None) -> Iterator[Pool]:
    """Open the pool a command asked for, and close it.

    Args:
        workers: local processes; 1 runs everything in this process.
        scheduler: address of a running Dask scheduler, instead of local processes.

    Raises:
        UsageError: no scheduler answers at that address.
    """
    if scheduler is None and workers <= 1:
        yield SerialPool()
        return
    import dask
    from distributed import Client, LocalCluster

    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"no Dask scheduler answers at {scheduler}",
                "start one with 'dask scheduler' and give its address",
            ) from error
        with client:
            yield DaskPool(client)
        return
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            host="127.0.0.1",
            silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield DaskPool(client)
