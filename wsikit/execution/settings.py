"""Settings of Dask for workers that wsikit starts itself.

Tasks return a few bytes, so a worker never holds results that could be spilled to disk; and a
worker that is paused because its memory is high never frees any, so the run would stand still. What
is left is the limit at which the nanny restarts a worker before the machine runs out; the task is
then run again.
"""

from __future__ import annotations

from typing import Any

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": 1,
    "MKL_NUM_THREADS": 1,
    "OPENBLAS_NUM_THREADS": 1,
    "MALLOC_TRIM_THRESHOLD_": None,
}
"""What workers start with, over Dask's own settings.

One thread each, as Dask has it, but without its MALLOC_TRIM_THRESHOLD_: that makes the allocator
hand every large array back to the system at once, and drawing or tiling pays for the page faults
(drawing phantoms took 4 times as long).
"""

MEMORY = {"target": False, "spill": False, "pause": False, "terminate": 0.95}
"""Shares of a worker's memory limit at which Dask acts; False: never."""

PROFILE = {"enabled": False}
"""Dask looks at each worker's stack a hundred times a second, for its dashboard. Pixel loops and
codecs must take Python's lock back each time: tiling took a fifth more processor time."""

ALLOWED_FAILURES = 1
"""How many workers may die on a task in company. It is then tried again alone; see DaskPool."""


def dask_settings() -> dict[str, Any]:
    """Return the settings, for `dask.config.set` around a cluster of our own."""
    return {
        "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
        "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
        # a task over and over: the history of each is only for looking at
        "distributed.scheduler.dashboard.tasks.task-stream-length": 1000,
        **{f"distributed.worker.{key}": value for key, value in _worker_settings().items()},
    }


def exports() -> list[str]:
    """Return the same settings of workers as shell lines, for a job script."""
    lines = [
        f"export DASK_DISTRIBUTED__WORKER__{key.upper().replace('.', '__')}={value}"
        for key, value in _worker_settings().items()
    ]
    return [*lines, f'export DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON="{WORKER_ENVIRONMENT}"']


def _worker_settings() -> dict[str, Any]:
    """Return what goes below `distributed.worker` in Dask's configuration."""
    memory = {f"memory.{key}": value for key, value in MEMORY.items()}
    return memory | {f"profile.{key}": value for key, value in PROFILE.items()}
