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
    SlurmOption,
    WorkersOption,
    resolve,
    worker_count,
)
from wsikit.errors import UsageError


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
    slurm: SlurmOption = None,
    print_job_script: Annotated[
        bool, typer.Option("--print-job-script", help="Show the job of --slurm and stop.")
    ] = False,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="GEOJSON",
            help="Tile only these areas: a file, or a folder, one file a slide.",
        ),
    ] = None,
    exclude: Annotated[
        str | None, typer.Option(metavar="GEOJSON", help="Leave these areas out; alike.")
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(metavar="SLIDE|JSON", help="Give all slides the stain of this one."),
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Also draw kept and dropped patches: STORE/previews.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail a slide of which any patch cannot be decoded.")
    ] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Cut slides into stain-normalised tissue patches.

    Run it again after anything: finished slides are skipped, a killed one
    continues. A slide that cannot be read is named, recorded and left out; the
    rest go on.

    Examples:

      wsikit tile slides/ -o store

      wsikit tile cohort.csv -o store --set tile.size=256 --set tile.mpp=1.0

      wsikit tile scan.png -o store --mpp 0.5 --set tile.mpp=native

      wsikit tile slides/ -o store --keep annotations/ --reference best.svs --preview
    """
    from wsikit.execution.pool import job_script, open_pool, prepare_pool
    from wsikit.stages.tiling.preload import SHARD_TASKS

    asked = worker_count(workers)
    prepare_pool(asked, scheduler, slurm=slurm, preload=[SHARD_TASKS])

    from wsikit.slides.find import passed_over_pictures
    from wsikit.stages.cohort import parse_mpp, source_slides
    from wsikit.stages.tiling.stain_reference import reference_file
    from wsikit.stages.tiling.tile import check_store, run_tile

    if print_job_script:
        if slurm is None:
            raise UsageError("--print-job-script needs --slurm FILE", "name the file")
        print(job_script(slurm), end="")
        raise typer.Exit
    settings = resolve(config, sets, {"tile.roi.keep": keep, "tile.roi.exclude": exclude})
    given_mpp = parse_mpp(mpp or "", "--mpp")
    sources = source_slides(slides, given_mpp)
    for picture in passed_over_pictures(slides):
        say(f"left out: {picture}: a picture beside slides; name it to have it tiled")
    with reference_file(reference, given_mpp, settings.tile) as recipe:
        check_store(sources, output, recipe, overwrite)
        count = min(asked, max(1, len(sources) * 8))
        with open_pool(count, scheduler, slurm=slurm, say=say, preload=[SHARD_TASKS]) as pool:
            outcome = run_tile(
                sources, output, recipe,
                pool=pool, progress=make_progress(), overwrite=overwrite,
                strict=strict, preview=preview,
            )  # fmt: skip
    raise typer.Exit(exit_code(outcome, "tile"))
