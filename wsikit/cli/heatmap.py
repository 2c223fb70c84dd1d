"""`wsikit heatmap`: patch scores in, files a pathologist opens out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsikit.cli.console import exit_code, make_progress
from wsikit.cli.options import (
    ConfigOption,
    DeviceOption,
    OverwriteOption,
    SetOption,
    SlideOption,
    StoreArgument,
    resolve,
)
from wsikit.errors import UsageError


def heatmap(
    store: StoreArgument,
    run: Annotated[
        list[Path],
        typer.Option(
            metavar="RUN",
            help="A run, or what predict -o wrote; again for more runs, which the HTML page "
            "switches between.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Default: RUN/heatmaps.")
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option("--format", metavar="png,geojson,...", help="Files to write, see above."),
    ] = None,
    single_file: Annotated[
        bool,
        typer.Option(
            "--single-file", help="html: one file that holds all it shows; large slides coarser."
        ),
    ] = False,
    slides: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|COHORT.csv",
            help="Where the slide files lie now. Default: pixels come from the store.",
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            help="Smooth: read patches every PX store pixels, score them, take means.",
        ),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(metavar="auto|raw|percentile", help="What colours stand for."),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Outline known regions: DIR/<slide_id>_mask.png, .geojson, or .xml of ASAP.",
        ),
    ] = None,
    region: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS", help="--truth: only areas of this class; repeatable."),
    ] = None,
    style: Annotated[
        str | None,
        typer.Option(
            metavar="patches|contours|both",
            help="geojson: a feature a patch, or merged areas above each threshold.",
        ),
    ] = None,
    thresholds: Annotated[
        str | None,
        typer.Option(metavar="0.5,0.9", help="geojson: where classes and merged areas begin."),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            metavar="qupath|slide",
            help="GeoJSON counts from the corner of what was scanned, as QuPath does (default), "
            "or from the slide's own.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="--stride: the run that predicted, if RUN is none."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="--stride: the encoder's weights, if RUN lacks them."),
    ] = None,
    device: DeviceOption = "auto",
    slide: SlideOption = None,
    overwrite: OverwriteOption = False,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Turn patch scores into files that pathologists open.

    png: tissue beside tissue with scores.
    sheet: the patches that scored highest and lowest.
    ome-tiff: the scores as numbers, and slide and colours as a pyramid.
    geojson: drag it onto the slide in QuPath.
    html: a page to zoom into, in any browser, from disk: open
    <slide_id>/index.html. With --single-file, <slide_id>.viewer.html.

    Also cohort.html: all slides in one table, with small heatmaps and links to
    what was written. Every file says what its scores mean; attention is shown
    as its percentile within the slide.

    The store does not know where the slide files lie. Without --slides, pixels
    are those of the store: stain-normalised patches, and the thumbnail between
    them. A file that is not the one that was tiled is refused.

    Run it again after anything: what is there and unchanged is skipped.

    Examples:

      wsikit heatmap store --run run

      wsikit heatmap store --run run --format html --slides slides/

      wsikit heatmap store --run run --run other-run --format html -o compare

      wsikit heatmap store --run run --slide S1 --stride 128

      wsikit heatmap store --run run --style contours --thresholds 0.5,0.9
    """
    from wsikit.stages.heatmaps.heatmap import run_heatmap
    from wsikit.stages.heatmaps.stride import Scorer

    if region and truth is None:
        raise UsageError("--region speaks of the areas in --truth", "add --truth DIR")
    flags = {
        "heatmap.formats": _formats(formats, single_file),
        "heatmap.stride": stride,
        "heatmap.scale": scale,
        "heatmap.style": style,
        "heatmap.thresholds": None if thresholds is None else thresholds.split(","),
        "heatmap.origin": origin,
        "heatmap.regions": region or None,
    }
    settings = resolve(config, sets, flags)
    outcome = run_heatmap(
        store, run[0], output, settings.heatmap,
        others=run[1:], slides=slides, slide_ids=slide, truth=truth,
        scorer=Scorer(model, weights, device), progress=make_progress(), overwrite=overwrite,
    )  # fmt: skip
    code = exit_code(outcome, "heatmap")
    if outcome.done or outcome.skipped or outcome.empty:
        print(output or run[0] / "heatmaps")
    raise typer.Exit(code)


def _formats(words: str | None, single_file: bool) -> list[str] | None:
    """Return the formats that --format names; the page may be asked for as one file."""
    if words is None and single_file:
        raise UsageError("--single-file speaks of the HTML page", "add --format html")
    if words is None:
        return None
    names = [name.strip() for name in words.split(",")]
    if single_file and not {"html", "html-file"} & set(names):
        raise UsageError("--single-file speaks of the HTML page", "add html to --format")
    return ["html-file" if single_file and name == "html" else name for name in names]
