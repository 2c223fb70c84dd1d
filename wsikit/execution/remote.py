"""A pool on a Dask scheduler that somebody else started."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Client, rpc
from distributed.versions import VersionMismatchWarning

from wsikit.errors import UsageError
from wsikit.execution.dashboard import say_dashboard
from wsikit.execution.dask_pool import DaskPool
from wsikit.execution.quiet import quiet
from wsikit.execution.supply import Supply
from wsikit.execution.watch import Say

CONNECT_SECONDS = 20
"""How long to try to reach a scheduler."""


@contextmanager
def remote_pool(address: str, say: Say) -> Iterator[DaskPool]:
    """Connect to a scheduler; leave it and its workers running at the end.

    Args:
        address: such as `tcp://head:8786`.
        say: told what the user should see.

    Raises:
        UsageError: no scheduler answers there, or its workers have another wsikit.
    """
    with quiet():
        client = _connect(address)
        try:
            say_dashboard(client, say)
            place = f"the Dask scheduler at {address}"
            yield DaskPool(client, Supply(place, f"start some with 'dask worker {address}'"), say)
        finally:
            client.close()


def _connect(address: str) -> Client:
    """Connect, but only to what has answered as a scheduler: Client itself would wait for ever."""
    try:
        asyncio.run(_probe(address))
        with warnings.catch_warnings():
            # Watch says in one line what differs
            warnings.simplefilter("ignore", VersionMismatchWarning)
            return Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"no Dask scheduler answers at {address or 'an empty address'}",
            "start one with 'dask scheduler' and give its address",
        ) from error


async def _probe(address: str) -> None:
    """Ask whoever listens there what it is.

    Raises:
        OSError: nobody answers, or not in Dask's way.
        ValueError: it is no address, or not a scheduler's.
    """
    async with rpc(address, timeout=CONNECT_SECONDS) as server:
        found = await asyncio.wait_for(server.identity(), CONNECT_SECONDS)
    if found["type"] != "Scheduler":
        raise ValueError(f"a {found['type']} listens at {address}")
