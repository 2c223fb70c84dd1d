"""Run one function in several processes that train together, on one machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue
from typing import Any

import torch
from torch import distributed, multiprocessing
from torch.multiprocessing.spawn import ProcessException, ProcessExitedException, start_processes

from wsikit.errors import WsikitError
from wsikit.training.bags.share import Share

Tell = Callable[..., None]

POLL_SECONDS = 0.1


def run_together(count: int, work: Callable[[Share, Tell], None], tell: Tell | None) -> None:
    """Run `work` once for every share, each in a process of its own, and wait for all.

    Processes are spawned, not forked: a fork would inherit locks of threads it does not have.

    Args:
        count: how many processes.
        work: called with its share and with what passes words on; can be pickled, and so can what
            it is bound to.
        tell: called here with what the first process passes on.

    Raises:
        WsikitError: `work` raised it in one of the processes, or one of them was killed. The others
            are ended.
    """
    messages = multiprocessing.get_context("spawn").SimpleQueue()
    with _silent_children():
        together = start_processes(  # type: ignore[no-untyped-call]
            _enter, (count, _free_port(), work, messages), nprocs=count, join=False
        )
    try:
        while not together.join(timeout=POLL_SECONDS):
            _pass_on(messages, tell)
        _pass_on(messages, tell)
    except ProcessExitedException as error:
        _pass_on(messages, tell)
        raise WsikitError(
            f"training process {error.error_index + 1} of {count} ended ({error})",
            "it may have run out of memory; the same command continues from the last epoch",
        ) from error
    except ProcessException:
        _pass_on(messages, tell)  # raises what is known of it
        raise
    finally:
        for process in together.processes:
            process.kill()  # does nothing where it has ended
            process.join()


@contextmanager
def _silent_children() -> Iterator[None]:
    """Keep torch's C++ side from warning that a search for unused parameters found none.

    It is said by every process, in the middle of a progress bar, and is no news: most heads use all
    of theirs. The level is read when torch is loaded, so it has to come with the environment.
    """
    name, before = "TORCH_CPP_LOG_LEVEL", os.environ.get("TORCH_CPP_LOG_LEVEL")
    os.environ.setdefault(name, "ERROR")
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]


def _enter(
    rank: int,
    count: int,
    port: int,
    work: Callable[[Share, Tell], None],
    messages: SimpleQueue[Any],
) -> None:
    """Be one of the processes: what Lightning and torch ask of the environment, then the work."""
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        NODE_RANK="0",
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(count),
    )
    torch.set_num_threads(max(1, torch.get_num_threads() // count))
    try:
        work(Share(rank, count), lambda *told: messages.put(told) if rank == 0 else None)
    except WsikitError as error:
        messages.put(error)
        raise
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _pass_on(messages: SimpleQueue[Any], tell: Tell | None) -> None:
    while not messages.empty():
        message = messages.get()
        if isinstance(message, WsikitError):
            raise message
        if tell is not None:
            tell(*message)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
