"""The file behind `--slurm`: what one SLURM job is, and how many there may be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from wsikit.errors import ConfigError, nearest

_MEMORY = re.compile(r"\d+(\.\d+)? ?([KMGT]i?B)", re.IGNORECASE)
_WALLTIME = re.compile(r"(\d+-)?\d+:[0-5]\d:[0-5]\d")
_WORDS = re.compile(r"\S+")


def _memory(text: str) -> str:
    if not _MEMORY.fullmatch(text):
        raise ValueError("write a number and a unit, such as 8GB")
    return text


def _walltime(value: object) -> object:
    if not isinstance(value, str) or not _WALLTIME.fullmatch(value):
        raise ValueError('write hours:minutes:seconds in quotes, such as "12:00:00"')
    return value


def _no_space(text: str) -> str:
    if not _WORDS.fullmatch(text):
        raise ValueError("job scripts allow no space in it")
    return text


def _both(value: object) -> object:
    """Take one number of jobs as least and most."""
    return {"minimum": value, "maximum": value} if isinstance(value, int) else value


Word = Annotated[str, AfterValidator(_no_space)]


class Section(BaseModel):
    """A group of keys. Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class JobCount(Section):
    """How many jobs run at a time."""

    minimum: int = Field(0, ge=0, description="jobs kept even when there is little to do")
    maximum: int = Field(10, ge=1, description="jobs at most")

    @model_validator(mode="after")
    def _ordered(self) -> JobCount:
        if self.minimum > self.maximum:
            raise ValueError("minimum is above maximum")
        return self


class SlurmConfig(Section):
    """What wsikit asks SLURM for."""

    cores: int = Field(ge=1, description="CPU cores of a job")
    memory: Annotated[str, AfterValidator(_memory)] = Field(
        description="memory of a job, all its processes together"
    )
    processes: int | None = Field(None, ge=1, description="worker processes; default: one a core")
    walltime: Annotated[str, BeforeValidator(_walltime)] = Field(
        "04:00:00", description="how long a job may run; a new one follows while there is work"
    )
    jobs: Annotated[JobCount, BeforeValidator(_both)] = Field(
        JobCount(), description="how many jobs, one number or minimum and maximum"
    )
    queue: Word | None = Field(None, description="partition; default: the cluster's own")
    account: Word | None = Field(None, description="account the time is booked on")
    job_extra_directives: tuple[str, ...] = Field((), description="further #SBATCH options")
    job_directives_skip: tuple[str, ...] = Field((), description="#SBATCH lines to leave out")
    job_script_prologue: tuple[str, ...] = Field((), description="shell lines before the worker")
    local_directory: Word | None = Field(None, description="fast local folder of the node")
    log_directory: Word | None = Field(None, description="folder of the jobs' output")
    interface: Word | None = Field(None, description="network interface, such as ib0")
    scheduler_interface: Word | None = Field(
        None, description="interface on this machine, where it has another name"
    )
    scheduler_port: int = Field(0, ge=0, le=65535, description="0: any free port")
    dashboard_port: int = Field(0, ge=0, le=65535, description="0: any free port")
    death_timeout: int = Field(
        300, ge=10, description="seconds a worker looks for the scheduler before its job ends"
    )
    python: Word | None = Field(None, description="Python on the nodes; default: this one")

    @model_validator(mode="after")
    def _shared(self) -> SlurmConfig:
        if self.processes is not None and self.processes > self.cores:
            raise ValueError(f"{self.processes} processes are more than {self.cores} cores")
        return self

    @property
    def processes_per_job(self) -> int:
        """Worker processes of a job."""
        return self.processes or self.cores

    @property
    def threads(self) -> int:
        """Threads of all workers when all jobs run."""
        each = self.cores // self.processes_per_job
        return self.jobs.maximum * self.processes_per_job * each

    @property
    def seconds(self) -> int:
        """The walltime in seconds."""
        days, _, clock = self.walltime.rpartition("-")
        hours, minutes, seconds = (int(part) for part in clock.split(":"))
        return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def load_slurm_config(path: Path) -> SlurmConfig:
    """Read a SLURM file.

    Raises:
        ConfigError: absent, no YAML mapping, an unknown or missing key, a value out of range.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ConfigError(f"{path}: cannot be read ({reason})", "check the path") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: not a YAML mapping of keys to values")
    try:
        return SlurmConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(*_explain(error.errors()[0], path)) from None


def _explain(error: ErrorDetails, path: Path) -> tuple[str, str]:
    keys = [str(part) for part in error["loc"]]
    key = ".".join(keys)
    if error["type"] == "extra_forbidden":
        known: dict[str, Any] = JobCount.model_fields if len(keys) > 1 else SlurmConfig.model_fields
        return f"{path}: unknown key '{key}'", nearest(keys[-1], known)
    if error["type"] == "missing":
        field = SlurmConfig.model_fields[key]
        return f"{path}: '{key}' is missing", f"give the {field.description}"
    said = error["msg"].removeprefix("Value error, ")
    if not isinstance(error["input"], str | int | float | None):
        return f"{path}: {key or 'the file'}", said
    return f"{path}: {key} is {error['input']!r}", said
