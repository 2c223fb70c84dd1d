"""Open the pool that a command asked for.

A stage never builds a graph of all its work: it keeps `slots` tasks in flight and decides what to
submit next when one is done. So memory on the scheduler does not grow with the cohort.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from wsikit.errors import UsageError
from wsikit.execution.fork_server import start_fork_server
from wsikit.execution.task import Pool, PoolError, SerialPool, Task

__all__ = ["Pool", "PoolError", "SerialPool", "Task", "job_script", "open_pool", "prepare_pool"]


@contextmanager
def open_pool(
    workers: int,
    scheduler: str | None = None,
    *,
    slurm: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
    preload: Sequence[str] = (),
) -> Iterator[Pool]:
    """Open a pool, and close it and what it started.

    Args:
        workers: local processes; 1 runs everything in this process.
        scheduler: address of a running Dask scheduler, instead of local processes.
        slurm: a YAML file that describes jobs of a SLURM cluster, instead of both.
        say: told what the user should see: the dashboard's address, waiting for workers.
        preload: modules that local workers import as they start, all at once; else each would do
            so when its first task comes, while the others wait.

    Raises:
        UsageError: no scheduler answers at that address, or SLURM cannot be used from here.
        ConfigError: the SLURM file is wrong.
        PoolError: the workers as a whole are lost.
    """
    if scheduler is not None and slurm is not None:
        raise UsageError("--scheduler and --slurm exclude each other", "give one of them")
    if slurm is not None:
        from wsikit.execution.slurm_config import load_slurm_config

        settings = load_slurm_config(slurm)
        try:
            from wsikit.execution.slurm import slurm_pool
        except ModuleNotFoundError as error:
            raise _missing(error) from error
        with slurm_pool(settings, say) as pool:
            yield pool
    elif scheduler is not None:
        from wsikit.execution.remote import remote_pool

        with remote_pool(scheduler, say) as pool:
            yield pool
    elif workers > 1:
        from wsikit.execution.local import local_pool

        with local_pool(workers, say, preload) as pool:
            yield pool
    else:
        yield SerialPool()


def prepare_pool(
    workers: int,
    scheduler: str | None = None,
    *,
    slurm: Path | None = None,
    preload: Sequence[str] = (),
) -> None:
    """Let local workers' imports begin while this process still does its own; see `open_pool`."""
    if workers > 1 and scheduler is None and slurm is None:
        start_fork_server(preload)


def job_script(slurm: Path) -> str:
    """Return the script that wsikit would hand to SLURM, one for each job.

    Raises:
        ConfigError: the file is wrong.
        UsageError: dask-jobqueue is not installed.
    """
    from wsikit.execution.slurm_config import load_slurm_config

    settings = load_slurm_config(slurm)
    try:
        from wsikit.execution.slurm import script_of
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return script_of(settings)


def _missing(error: ModuleNotFoundError) -> UsageError:
    """Return the error that says what to install for SLURM."""
    name = str(error.name).partition(".")[0].replace("_", "-")
    return UsageError(
        f"--slurm needs {name}, which is not installed", "pip install 'wsikit[cluster]'"
    )
