"""Keep an eye on a Dask scheduler: who works for it, and whether it is still there."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from wsikit.execution.supply import Supply
from wsikit.execution.task import PoolError
from wsikit.execution.versions import PACKAGES, check_versions

LOOK_SECONDS = 5.0
"""How often to look while workers are there; once a second while none is."""

ANSWER_SECONDS = 60
"""A scheduler that takes longer to answer a simple question is lost."""

SAY_SECONDS = 5.0
"""How long no worker may be there before the user hears of it."""

JOIN_SECONDS = 300.0
"""How long to wait for a worker where nothing is known to bring one."""

Say = Callable[[str], None]


class Watch:
    """Follow the workers of a Dask client.

    Args:
        client: a connected `distributed.Client`.
        supply: where its workers come from.
        say: told what the user should see.

    Attributes:
        threads: how many tasks the workers can run at once, or could once all have come.
    """

    def __init__(self, client: Any, supply: Supply, say: Say) -> None:
        self._client, self._supply, self._say = client, supply, say
        self._due = 0.0
        self._alone_since: float | None = None
        self._said = ""
        self._known: set[str] = set()
        self.threads = supply.threads

    def look(self) -> None:
        """Look at scheduler and workers, unless that was done a moment ago.

        Raises:
            PoolError: the scheduler is lost, or no worker came.
            UsageError: a worker has another wsikit.
        """
        now = time.monotonic()
        if now < self._due:
            return
        self._supply.tend()
        threads: dict[str, int] = self._ask("ncores")
        self.threads = max(self._supply.threads, sum(threads.values()))
        if threads:
            self._present(threads)
        else:
            self._absent(now)
        self._due = now + (LOOK_SECONDS if threads else min(1.0, LOOK_SECONDS))

    def lost(self) -> PoolError:
        """Return the error that says the scheduler is gone."""
        return PoolError(
            f"the connection to {self._supply.place} is lost",
            "see that it runs, then give the same command again; finished work is kept",
        )

    def _present(self, workers: Collection[str]) -> None:
        if self._said:
            self._say(f"workers have come: {len(workers)}")
        self._alone_since, self._said = None, ""
        new = set(workers) - self._known
        if new and self._supply.foreign:
            self._compare(new)
        self._known = set(workers)

    def _absent(self, now: float) -> None:
        if self._alone_since is None:
            self._alone_since = now
        waited = now - self._alone_since
        awaited = self._supply.awaited()
        if waited >= JOIN_SECONDS and not awaited:
            raise PoolError(
                f"{self._supply.place} has had no worker for {waited:.0f} s", self._supply.advice
            )
        line = f"waiting for workers: {awaited or self._supply.advice}"
        if waited >= SAY_SECONDS and line != self._said:
            self._said = line
            self._say(line)

    def _compare(self, workers: set[str]) -> None:
        packages = list(PACKAGES)
        found = self._ask(
            "broadcast",
            msg={"op": "versions", "packages": packages},
            workers=sorted(workers),
            on_error="ignore",
        )
        there: dict[str, Mapping[str, str | None]] = {
            address: answer["packages"] for address, answer in found.items()
        }
        if not self._known:
            there["the scheduler"] = self._ask("versions", packages=packages)["packages"]
        line = check_versions(_own_versions(packages), there)
        if line:
            self._say(line)

    def _ask(self, question: str, **details: Any) -> Any:
        """Ask the scheduler, and take no answer for an answer."""
        if self._client.status != "running":
            raise self.lost()
        call = getattr(self._client.scheduler, question)
        try:
            return self._client.sync(call, callback_timeout=ANSWER_SECONDS, **details)
        except OSError as error:  # a closed connection, or a time-out
            raise self.lost() from error


def _own_versions(packages: list[str]) -> dict[str, str | None]:
    from distributed.versions import get_package_info

    return get_package_info(packages)
