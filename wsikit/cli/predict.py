"""`wsikit predict`: a run and a store in, predictions and patch scores out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsikit.cli.console import exit_code, make_progress
from wsikit.cli.options import DeviceOption, SlideOption, StoreArgument


def predict(
    store: StoreArgument,
    run: Annotated[Path, typer.Option(metavar="RUN", help="A trained run.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Default: the run.")
    ] = None,
    device: DeviceOption = "auto",
    slide: SlideOption = None,
) -> None:
    """Score slides and their patches with a trained run.

    Writes predictions.csv and patches/<slide_id>.parquet. A slide that a fold held out is scored by
    that fold's model alone; a new slide by the mean over the folds.

    Example:

      wsikit predict store --run run
    """
    from wsikit.stages.predict import run_predict

    outcome = run_predict(
        store, run, output, device=device, slide_ids=slide, progress=make_progress()
    )
    code = exit_code(outcome, "predict")
    if outcome.done:
        print((output or run) / "predictions.csv")
    raise typer.Exit(code)
