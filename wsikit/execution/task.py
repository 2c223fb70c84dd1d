"""What a pool takes and gives back, and the pool that needs no other process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from wsikit.errors import WsikitError


class PoolError(WsikitError):
    """The workers as a whole are lost; this run can do no more."""


@dataclass(eq=False)
class Task:
    """One piece of work.

    A worker may die over it, and it is then run again elsewhere, so its call must be idempotent.

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
    """Run tasks."""

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many tasks are worth keeping in flight now; it follows workers that come and go."""

    @abstractmethod
    def submit(self, task: Task) -> None:
        """Take a task on."""

    @abstractmethod
    def next_done(self) -> Task:
        """Wait for any submitted task to end, in no set order, and return it.

        Raises:
            PoolError: the workers as a whole are lost.
        """


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
