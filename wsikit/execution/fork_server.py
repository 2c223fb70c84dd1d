"""Start worker processes as forks of a server that has imported what they need.

A worker that starts as a new Python spends seconds of processor time on imports, and so does each
one beside it. The server does that once, and while this process does its own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, get_all_start_methods, resource_tracker

from wsikit.execution.settings import WORKER_ENVIRONMENT

WORKER = "distributed.nanny"
"""The module that a Dask worker process begins in."""

METHOD = "forkserver"
"""What `multiprocessing` calls this way to start a process."""

ENVIRONMENT = {**WORKER_ENVIRONMENT, "PYTHONSAFEPATH": 1}
"""What the server starts with. It must not import a file of the user's folder that has a library's
name; nor must one that Dask starts where the first was killed, so this stays while a pool is open.
"""


def start_fork_server(modules: Sequence[str]) -> bool:
    """Start the server, and do not wait for it; one that runs already stays as it is.

    It ends with this process. Nothing runs in it but imports, so that it has one thread and a fork
    of it no lock that somebody held. Neither it nor its forks hear Ctrl-C, which a terminal sends
    to all: this process does, and ends them. (One that Dask starts where this was killed does.)

    Args:
        modules: what it imports, beside Dask; one that cannot be imported is left to the workers.

    Returns:
        Whether it runs: not every system can, and its socket, a temporary file, takes no long path.
    """
    if METHOD not in get_all_start_methods():
        return False
    forkserver.set_forkserver_preload([WORKER, *modules])
    resource_tracker.ensure_running()  # the server needs it; as it starts it lets interrupts in
    try:
        with environment(ENVIRONMENT), _without_interrupts():
            forkserver.ensure_running()
    except OSError:
        return False
    return True


@contextmanager
def environment(wanted: Mapping[str, object]) -> Iterator[None]:
    """Set environment variables for a while (None: unset), and put back what was there."""
    before = {name: os.environ.get(name) for name in wanted}
    _set({name: None if value is None else str(value) for name, value in wanted.items()})
    try:
        yield
    finally:
        _set(before)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back for a moment; a process that is started meanwhile never gets it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
