"""A pool whose workers are SLURM jobs, through dask-jobqueue.

The scheduler lives in this process, on the machine where the command was given; it asks SLURM for
jobs while there is work, up to a maximum, and cancels them at the end.
"""

from __future__ import annotations

import getpass
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
from dask_jobqueue.slurm import SLURMCluster, SLURMJob
from distributed import Client
from distributed.core import Status

from wsikit.errors import UsageError
from wsikit.execution.dashboard import say_dashboard
from wsikit.execution.dask_pool import DaskPool
from wsikit.execution.quiet import quiet
from wsikit.execution.settings import dask_settings, exports
from wsikit.execution.slurm_config import SlurmConfig
from wsikit.execution.supply import Supply
from wsikit.execution.task import PoolError
from wsikit.execution.watch import Say

STILLBORN_JOBS = 3
"""After this many jobs in a row whose workers never came, no more are asked for."""

IDLE_CHECKS = 20
"""A worker is given back after it was idle at so many looks, one a second."""

TARGET_SECONDS = "500ms"
"""How soon Dask should want the tasks in flight done: so soon that it asks for every job allowed.

Only two tasks a thread are in flight, whatever is still to come. Dask's own 5 s would take that for
little work and never ask for a second job.
"""


class WatchedJob(SLURMJob):
    """A job that remembers why SLURM refused it, and says when it is closed.

    dask-jobqueue leaves the status of a closed job as it was, and its cluster then fails to close
    over it.
    """

    refusal = ""

    async def _submit_job(self, script_filename: str) -> str:
        submit: Any = super()._submit_job
        try:
            return str(await submit(script_filename))
        except RuntimeError as error:
            said = str(error).partition("stderr:")[2]
            self.refusal = " ".join(said.split()) or "sbatch gave no reason"
            raise

    async def close(self) -> None:
        """Cancel the job."""
        cancel: Any = super().close
        await cancel()
        self.status = Status.closed


class WatchedCluster(SLURMCluster):
    """A cluster of such jobs."""

    job_cls = WatchedJob


class SlurmSupply(Supply):
    """The jobs of one run: what SLURM says of them, and whether they bring workers.

    Args:
        cluster: the jobs' `SLURMCluster`.
        config: what was asked for.
    """

    def __init__(self, cluster: SLURMCluster, config: SlurmConfig) -> None:
        where = f" in {config.log_directory}" if config.log_directory else ""
        super().__init__(
            "the SLURM cluster", f"see the jobs' output{where}", threads=config.threads
        )
        self._cluster = cluster
        self._joined: set[str] = set()
        self._stillborn: list[str] = []

    def tend(self) -> None:
        """Let go of jobs that have ended, so that others are asked for in their place.

        Raises:
            PoolError: SLURM refuses jobs, or their workers never come.
        """
        jobs: dict[str, Any] = dict(self._cluster.workers)
        for job in jobs.values():
            if job.refusal:
                raise PoolError(
                    f"SLURM refused a job ({job.refusal})", "correct the file given as --slurm"
                )
        self._note_joined(jobs)
        states = job_states()
        if states is None:  # no answer from SLURM says nothing of the jobs
            return
        ended = [n for n, job in jobs.items() if job.job_id and job.job_id not in states]
        for name in ended:
            if name in self._joined:
                self._stillborn.clear()
            else:
                self._stillborn.append(jobs[name].job_id)
        if len(self._stillborn) >= min(STILLBORN_JOBS, self._most_jobs):
            raise PoolError(
                f"SLURM jobs {', '.join(self._stillborn)} ended before their workers came",
                self.advice,
            )
        if ended:
            self._cluster.sync(self._cluster.scale_down, ended)

    def awaited(self) -> str:
        """Say which jobs are queued or have started."""
        states = job_states() or {}
        jobs = [job.job_id for job in dict(self._cluster.workers).values()]
        said = [f"{job} {states[job].lower()}" for job in jobs if job in states]
        return f"SLURM job {', '.join(said)}" if said else ""

    @property
    def _most_jobs(self) -> int:
        return max(1, len(self._cluster.worker_spec))

    def _note_joined(self, jobs: Mapping[str, Any]) -> None:
        present = [str(w["name"]) for w in self._cluster.scheduler_info["workers"].values()]
        for name in jobs:
            # a worker is called as its job, or, where a job has several, that and "-number"
            if any(worker == name or worker.rpartition("-")[0] == name for worker in present):
                self._joined.add(name)
                self._stillborn.clear()


@contextmanager
def slurm_pool(config: SlurmConfig, say: Say) -> Iterator[DaskPool]:
    """Start a scheduler here, ask SLURM for workers as work comes, and cancel the jobs at the end.

    Args:
        config: what to ask for.
        say: told what the user should see.

    Raises:
        UsageError: this machine cannot submit jobs.
    """
    if shutil.which("sbatch") is None:
        raise UsageError(
            "no sbatch on this machine", "give the command on a login node of the SLURM cluster"
        )
    with (
        dask.config.set(dask_settings()),
        quiet(),
        _cluster(config) as cluster,
        Client(cluster) as client,
    ):
        say_dashboard(client, say)
        cluster.adapt(
            minimum_jobs=config.jobs.minimum,
            maximum_jobs=config.jobs.maximum,
            target_duration=TARGET_SECONDS,
            wait_count=IDLE_CHECKS,
        )
        yield DaskPool(client, SlurmSupply(cluster, config), say)


def script_of(config: SlurmConfig) -> str:
    """Return the script of one job; the scheduler's address and the job's name stand open in it."""
    job = SLURMJob("SCHEDULER_ADDRESS", name="JOB_NAME", **_job_options(config))
    return str(job.job_script())


def _cluster(config: SlurmConfig) -> SLURMCluster:
    options: dict[str, Any] = {"dashboard_address": f":{config.dashboard_port}"}
    options["port"] = config.scheduler_port
    interface = config.scheduler_interface or config.interface
    if interface:
        options["interface"] = interface
    try:
        return WatchedCluster(
            scheduler_options=options,
            silence_logs="CRITICAL",
            **_job_options(config),
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"no Dask scheduler can be started here ({error})",
            "check interface and ports in the file given as --slurm",
        ) from error


def _job_options(config: SlurmConfig) -> dict[str, Any]:
    """Return dask-jobqueue's own names; what is not given is left to the site's jobqueue.yaml."""
    # A worker that leaves in time hands its tasks on; one that SLURM ends takes them with it.
    grace = min(600, max(60, config.seconds // 20))
    lifetime = max(config.seconds - grace, config.seconds // 2)
    options: dict[str, Any] = {
        "cores": config.cores,
        "processes": config.processes_per_job,
        "memory": config.memory,
        "walltime": config.walltime,
        "queue": config.queue,
        "account": config.account,
        "interface": config.interface,
        "local_directory": config.local_directory,
        "death_timeout": config.death_timeout,
        "python": config.python or shlex.quote(sys.executable),
        "job_name": "wsikit",
        "job_script_prologue": [*exports(), *config.job_script_prologue],
        "worker_extra_args": ["--lifetime", f"{lifetime}s"],
    }
    if config.log_directory is not None:
        options["log_directory"] = str(Path(config.log_directory).expanduser().absolute())
    if config.job_extra_directives:
        options["job_extra_directives"] = list(config.job_extra_directives)
    if config.job_directives_skip:
        options["job_directives_skip"] = list(config.job_directives_skip)
    return options


def job_states() -> dict[str, str] | None:
    """Ask SLURM for the user's jobs: id -> state; None where it gives no answer."""
    command = ["squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i %T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    found = (line.split() for line in done.stdout.splitlines())
    alive = {job: state for job, state in found if state != "COMPLETING"}
    return alive
