"""`wsikit tile`: slides in, a patch store out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsikit.cli.console import exit_code, make_progress, say
from wsikit.cli.options import (
    ConfigOption,
    OverwriteOption,
    SchedulerOption,
    SetOption,
    WorkersOption,
    resolve,
    worker_count,
)


def tile(
    slides: Annotated[
        list[Path], typer.Argument(metavar="SLIDES...|COHORT.csv", help="Files, folders or a CSV.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="STORE", help="The store.")],
    config: ConfigOption = None,
    sets: SetOption = None,
    mpp: Annotated[
        str | None,
        typer.Option(metavar="UM", help="True um per level-0 px of slides that do not state it."),
    ] = None,
    workers: WorkersOption = 0,
    scheduler: SchedulerOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Cut slides into stain-normalised tissue patches.

    Run it again after anything: finished slides are skipped, a killed one continues. A slide that
    cannot be read is named, recorded and left out; the rest go on.

    Examples:

      wsikit tile slides/ -o store

      wsikit tile cohort.csv -o store --set tile.size=256 --set tile.mpp=1.0

      wsikit tile scan.png -o store --mpp 0.5 --set tile.mpp=native
    """
    from wsikit.execution.pool import open_pool
    from wsikit.slides.find import passed_over_pictures
    from wsikit.stages.cohort import parse_mpp, source_slides
    from wsikit.stages.tile import check_store, run_tile

    settings = resolve(config, sets)
    sources = source_slides(slides, parse_mpp(mpp or "", "--mpp"))
    for picture in passed_over_pictures(slides):
        say(f"left out: {picture}: a picture beside slides; name it to have it tiled")
    check_store(sources, output, settings.tile, overwrite)
    count = min(worker_count(workers), max(1, len(sources) * 8))
    with open_pool(count, scheduler) as pool:
        outcome = run_tile(
            sources, output, settings.tile,
            pool=pool, progress=make_progress(), overwrite=overwrite,
        )  # fmt: skip
    raise typer.Exit(exit_code(outcome, "tile"))
