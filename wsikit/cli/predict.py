"""`wsikit predict`: a run and slides or a store in, predictions and patch scores out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsikit.cli.console import exit_code, make_progress, say
from wsikit.cli.options import (
    DeviceOption,
    OverwriteOption,
    SchedulerOption,
    SlideOption,
    SlurmOption,
    WorkersOption,
    worker_count,
)
from wsikit.errors import UsageError, nearest

if TYPE_CHECKING:
    from wsikit.stages.cohort import SourceSlide


def predict(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="SLIDES...|COHORT.csv|STORE", help="Files, folders or a CSV; or a store."
        ),
    ],
    run: Annotated[Path, typer.Option(metavar="RUN", help="A trained run.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Default: the run.")
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(metavar="STORE", help="Where slides are tiled to. Default: DIR/store."),
    ] = None,
    mpp: Annotated[
        str | None,
        typer.Option(metavar="UM", help="True um per level-0 px of slides that do not state it."),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(metavar="GEOJSON", help="Regions to tile, if the run was trained in such."),
    ] = None,
    exclude: Annotated[
        str | None, typer.Option(metavar="GEOJSON", help="Regions to leave out, likewise.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The encoder's weights, if neither the run has them nor the network.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    workers: WorkersOption = 0,
    scheduler: SchedulerOption = None,
    slurm: SlurmOption = None,
    slide: SlideOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Score slides and their patches with a trained run.

    Given slides, it tiles and describes them as the run's own were, and scores
    them; the run's folder is all it needs. Given a store, it makes the features
    and graphs that are missing. Run it again after anything: stages that are
    done are skipped.

    Writes predictions.csv and patches/<slide_id>.parquet. A slide that a fold
    held out is scored by that fold's model alone; a new slide by the mean over
    the folds. A slide whose stain or features lie far from those of the
    training slides is flagged; one too coarse for the run is refused.

    Examples:

      wsikit predict new-slides/ --run run -o predictions

      wsikit predict store --run run
    """
    from wsikit.stages.prediction.predict_slides import is_store

    if any(is_store(path) for path in inputs):
        given = {
            "--store": store, "--mpp": mpp, "--keep": keep, "--exclude": exclude,
            "--overwrite": overwrite or None,
        }  # fmt: skip
        code = _predict_store(inputs, given, run, output, weights, device, slide)
    else:
        sources = _sources(inputs, mpp, slide)
        code = _predict_slides(
            sources, run, output or run, store, (keep, exclude), weights, device,
            (workers, scheduler, slurm), overwrite,
        )  # fmt: skip
    raise typer.Exit(code)


def _predict_store(
    inputs: list[Path],
    given: Mapping[str, object],
    run: Path,
    output: Path | None,
    weights: str | None,
    device: str,
    slide: list[str] | None,
) -> int:
    from wsikit.stages.prediction.predict_slides import predict_store

    if len(inputs) > 1:
        raise UsageError("a store stands alone", "name one store, or slides and folders")
    if useless := [option for option, value in given.items() if value is not None]:
        raise UsageError(
            f"{useless[0]} has no use with a store, whose slides are tiled", "leave it out"
        )
    outcome = predict_store(
        inputs[0], run, output,
        weights=weights, device=device, slide_ids=slide, progress=make_progress(),
    )  # fmt: skip
    code = exit_code(outcome, "predict")
    if outcome.done:
        print((output or run) / "predictions.csv")
    return code


def _sources(inputs: list[Path], mpp: str | None, slide: list[str] | None) -> list[SourceSlide]:
    from wsikit.slides.find import passed_over_pictures
    from wsikit.stages.cohort import parse_mpp, source_slides

    sources = source_slides(inputs, parse_mpp(mpp or "", "--mpp"))
    for picture in passed_over_pictures(inputs):
        say(f"left out: {picture}: a picture beside slides; name it to have it scored")
    names = [source.slide_id for source in sources]
    for name in slide or ():
        if name not in names:
            raise UsageError(f"no slide '{name}' was given", nearest(name, names))
    return [source for source in sources if slide is None or source.slide_id in slide]


def _predict_slides(
    sources: list[SourceSlide],
    run: Path,
    output: Path,
    store: Path | None,
    regions: tuple[str | None, str | None],
    weights: str | None,
    device: str,
    where: tuple[int, str | None, Path | None],
    overwrite: bool,
) -> int:
    from wsikit.stages.prediction.predict_slides import Regions, Workers, predict_slides

    workers, scheduler, slurm = where
    count = min(worker_count(workers), max(1, len(sources) * 8))
    outcome = predict_slides(
        sources, run, output, store or output / "store",
        regions=Regions(*regions), workers=Workers(count, scheduler, slurm),
        weights=weights, device=device, progress=make_progress(), overwrite=overwrite,
    )  # fmt: skip
    code = exit_code(outcome, "predict")
    if outcome.done:
        print(output / "predictions.csv")
    return code
