"""`wsikit heatmap`: patch scores in, PNG and QuPath files out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsikit.cli.console import exit_code, make_progress
from wsikit.cli.options import ConfigOption, SetOption, SlideOption, StoreArgument, resolve


def heatmap(
    store: StoreArgument,
    run: Annotated[Path, typer.Option(metavar="RUN", help="A run, or what predict -o wrote.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Default: RUN/heatmaps.")
    ] = None,
    formats: Annotated[
        str | None, typer.Option("--format", metavar="png,geojson", help="Files to write.")
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Outline DIR/<slide_id>_mask.png on the pictures."),
    ] = None,
    slide: SlideOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Draw patch scores over the slides.

    PNG: tissue beside tissue with scores. GeoJSON: drag it onto the slide in
    QuPath.

    Example:

      wsikit heatmap store --run run -o heatmaps --format png,geojson
    """
    from wsikit.stages.heatmaps.heatmap import run_heatmap

    wanted = formats.split(",") if formats else None
    settings = resolve(config, sets, {"heatmap.formats": wanted})
    outcome = run_heatmap(
        store, run, output, settings.heatmap,
        slide_ids=slide, truth=truth, progress=make_progress(),
    )  # fmt: skip
    code = exit_code(outcome, "heatmap")
    if outcome.done:
        print(output or run / "heatmaps")
    raise typer.Exit(code)
