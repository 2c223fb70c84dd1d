"""A pool of processes on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import dask
from distributed import Client, LocalCluster
from distributed.system import MEMORY_LIMIT

from wsikit.execution.dashboard import say_dashboard
from wsikit.execution.dask_pool import DaskPool
from wsikit.execution.fork_server import ENVIRONMENT, METHOD, environment, start_fork_server
from wsikit.execution.interrupts import interrupts_wait
from wsikit.execution.quiet import quiet
from wsikit.execution.settings import dask_settings
from wsikit.execution.supply import Supply
from wsikit.execution.watch import Say

GB = 10**9
NEEDED_BYTES = 3 * GB // 2
"""What a worker may need at its height: the slide's tile cache, a block of pixels, libraries."""


@contextmanager
def local_pool(workers: int, say: Say, preload: Sequence[str] = ()) -> Iterator[DaskPool]:
    """Start worker processes, one thread each, and end them.

    Args:
        workers: how many.
        say: told what the user should see.
        preload: modules that they import as they start.
    """
    method = METHOD if start_fork_server(preload) else "spawn"
    settings = {**dask_settings(), "distributed.worker.multiprocessing-method": method}
    limit = memory_limit(workers, MEMORY_LIMIT, say)
    with quiet(), environment(ENVIRONMENT), dask.config.set(settings), ExitStack() as started:
        with interrupts_wait():
            cluster = started.enter_context(_cluster(workers, limit, preload))
            client = started.enter_context(Client(cluster))
        say_dashboard(client, say)
        supply = Supply("the local workers", "use fewer --workers", foreign=False)
        yield DaskPool(client, supply, say)


def _cluster(workers: int, limit: int, preload: Sequence[str]) -> LocalCluster:
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        preload=list(preload),
        memory_limit=limit,
        dashboard_address="127.0.0.1:0",
        host="127.0.0.1",
        silence_logs=50,
    )


def memory_limit(workers: int, total: int, say: Say) -> int:
    """Return at how many bytes a worker is restarted: its share, but not less than it may need.

    Args:
        workers: how many share the memory.
        total: bytes this process may use, after limits of containers.
        say: told where the shares are small.
    """
    share = total // workers
    if share < NEEDED_BYTES:
        say(
            f"warning: {workers} workers share {total / GB:.1f} GB of memory, and one may need"
            f" {NEEDED_BYTES / GB} GB: if some are killed, use --workers"
            f" {max(1, total // NEEDED_BYTES)}"
        )
    return max(share, NEEDED_BYTES)
