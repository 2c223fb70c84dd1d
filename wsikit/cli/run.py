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
    SplitOption,
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
    split: SplitOption = None,
    workers: WorkersOption = 0,
    scheduler: SchedulerOption = None,
    slurm: SlurmOption = None,
    device: DeviceOption = "auto",
    devices: Annotated[
        int, typer.Option(min=1, help="So many GPUs, or processes, share training (wsikit train).")
    ] = 1,
    overwrite: OverwriteOption = False,
) -> None:
    """Tile, extract, graph, train, predict, draw and report, as one recipe says.

    The recipe names `slides` or `cohort`, and `output`, relative to its own
    folder. Killed and started again, it continues; with nothing new to do it is
    quick and changes nothing.

    Splits are as for wsikit train: the cohort's column `split` or `fold`, or
    the split of another run, by --split or the recipe's `split`.

    Examples:

      wsikit run study.yaml -o results

      wsikit run study.yaml --set tile.mpp=1.0 --split results/run -o coarser
    """
    from wsikit.cli.evaluate import print_metrics
    from wsikit.stages.study.study import run_study

    here = {"output": output, "split": split}
    flags = {key: str(path.absolute()) for key, path in here.items() if path is not None}
    settings = resolve(config, sets, flags)
    result = run_study(
        settings, config.absolute().parent, make_progress(),
        workers=worker_count(workers), scheduler=scheduler, slurm=slurm,
        device=device, devices=devices, overwrite=overwrite,
    )  # fmt: skip
    code = max(exit_code(outcome, stage) for stage, outcome in result.outcomes.items())
    if result.evaluation is not None:
        print_metrics(result.evaluation)
        print(result.run / "report.html")
    raise typer.Exit(code)
