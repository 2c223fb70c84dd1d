"""`wsikit run`: every stage of one recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsikit.cli.console import exit_code, make_progress
from wsikit.cli.options import (
    DeviceOption,
    OverwriteOption,
    SchedulerOption,
    SetOption,
    SlurmOption,
    WorkersOption,
    resolve,
    worker_count,
)


def run(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="The recipe.")],
    sets: SetOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Over the recipe's own output."),
    ] = None,
    workers: WorkersOption = 0,
    scheduler: SchedulerOption = None,
    slurm: SlurmOption = None,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
) -> None:
    """Tile, extract, graph, train, predict, draw and report, as one recipe says.

    The recipe names `slides` or `cohort`, and `output`, relative to its own
    folder. Killed and started again, it continues; with nothing new to do it is
    quick and changes nothing.

    Example:

      wsikit run study.yaml -o results
    """
    from wsikit.cli.evaluate import print_metrics
    from wsikit.stages.study.study import run_study

    where = str(output.absolute()) if output else None
    settings = resolve(config, sets, {"output": where})
    result = run_study(
        settings, config.absolute().parent, make_progress(),
        workers=worker_count(workers), scheduler=scheduler, slurm=slurm,
        device=device, overwrite=overwrite,
    )  # fmt: skip
    code = max(exit_code(outcome, stage) for stage, outcome in result.outcomes.items())
    if result.evaluation is not None:
        print_metrics(result.evaluation)
        print(result.run / "report.html")
    raise typer.Exit(code)
