"""Options that several commands share, and how they become a configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from wsikit.config import Config

StoreArgument = Annotated[Path, typer.Argument(metavar="STORE", help="The store's folder.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="A recipe in YAML.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one key of the recipe; repeatable."),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Do it again, replacing what is there.")
]
SplitOption = Annotated[
    Path | None,
    typer.Option(metavar="RUN|CSV", help="Use the split of another run again, exactly."),
]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Of everything random.")]
DeviceOption = Annotated[
    str, typer.Option(metavar="auto|cpu|cuda", help="Where to compute; auto takes a GPU if any.")
]
SlideOption = Annotated[
    list[str] | None,
    typer.Option("--slide", metavar="ID", help="Only this slide; repeatable. Default: all."),
]
WorkersOption = Annotated[
    int, typer.Option("--workers", "-j", min=0, help="Local processes; 0: one a processor core.")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="A running Dask scheduler, such as tcp://head:8786."),
]
SlurmOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="SLURM jobs, described in YAML (docs: cluster)."),
]


def resolve(
    config: Path | None, sets: list[str] | None, flags: Mapping[str, Any] | None = None
) -> Config:
    """Read the recipe; `--set` goes over the file, and flags that were given over both.

    Args:
        config: a YAML file, or None for the defaults.
        sets: `key=value` overrides.
        flags: key -> value of a command's own flags; None means not given.
    """
    import json

    from wsikit.config import load_config

    given = [f"{k}={json.dumps(v)}" for k, v in (flags or {}).items() if v is not None]
    return load_config(config, [*(sets or []), *given])


def named_split(split: Path | None, settings: Config, config: Path | None) -> Path | None:
    """Return the split to use again: the flag's, or else the recipe's, relative to the recipe.

    Args:
        split: from `--split`.
        settings: the resolved recipe.
        config: its file.
    """
    if split is not None or settings.split is None:
        return split
    return (config.absolute().parent if config else Path()) / settings.split


def worker_count(asked: int) -> int:
    """Return how many processes to start; 0 means one for each core this process may use."""
    return asked or len(os.sched_getaffinity(0))
