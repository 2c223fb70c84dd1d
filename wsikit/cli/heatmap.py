"""`wsikit heatmap`: patch scores in, files a pathologist opens out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from wsikit.config import HeatmapConfig

PAGES = ("html", "html-file")

READ_BY: Mapping[str, tuple[str, ...]] = {
    "a second --run": PAGES,
    "--slides": ("sheet", "ome-tiff", *PAGES, "--stride"),
    "--truth": ("png", *PAGES),
    "--style": ("geojson",),
    "--thresholds": ("geojson",),
    "--origin": ("geojson", "--truth"),
    "--model": ("grad-cam", "--stride"),
    "--weights": ("--stride",),
}
"""What reads an option: a format, or another option. Those that any format reads are not named."""


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
        typer.Option(
            metavar="RUN", help="--stride, grad-cam: the run that predicted, if RUN is none."
        ),
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
    grad-cam: of mammograms and other single pictures, where the run's network
    looked; one PNG a picture, known lesions boxed.

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

      wsikit heatmap mammograms --run run --format png,grad-cam
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
    given = {
        "a second --run": run[1:], "--slides": slides, "--truth": truth, "--style": style,
        "--thresholds": thresholds, "--origin": origin, "--model": model, "--weights": weights,
    }  # fmt: skip
    _refuse_unread([option for option, value in given.items() if value], settings.heatmap)
    outcome = run_heatmap(
        store, run[0], output, settings.heatmap,
        others=run[1:], slides=slides, slide_ids=slide, truth=truth,
        scorer=Scorer(model, weights, device), progress=make_progress(), overwrite=overwrite,
    )  # fmt: skip
    code = exit_code(outcome, "heatmap")
    if outcome.done or outcome.skipped or outcome.empty:
        print(output or run[0] / "heatmaps")
    raise typer.Exit(code)


def _refuse_unread(given: Sequence[str], config: HeatmapConfig) -> None:
    """Raise UsageError for an option that nothing of what is asked for reads."""
    asked = {*config.formats, *given, *(["--stride"] if config.stride is not None else [])}
    for option in given:
        if asked.isdisjoint(READ_BY[option]):
            *others, last = READ_BY[option]
            readers = f"{', '.join(others)} and {last}" if others else last
            raise UsageError(
                f"{option} is read by {readers} alone, and nothing of that is asked for",
                "leave it out, or add what reads it",
            )


def _formats(words: str | None, single_file: bool) -> list[str] | None:
    """Return the formats that --format names; the page may be asked for as one file."""
    if words is None and single_file:
        raise UsageError("--single-file speaks of the HTML page", "add --format html")
    if words is None:
        return None
    names = [name.strip() for name in words.split(",")]
    if single_file and not set(PAGES) & set(names):
        raise UsageError("--single-file speaks of the HTML page", "add html to --format")
    return ["html-file" if single_file and name == "html" else name for name in names]
