"""`wsikit export`: a store's features out, for other tools."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from wsikit.cli.console import exit_code, make_progress
from wsikit.cli.options import OverwriteOption, SlideOption, StoreArgument


class ExportFormat(StrEnum):
    """Files that can be written."""

    h5 = "h5"


class ExportLayout(StrEnum):
    """Whose meaning `patch_size` has."""

    trident = "trident"
    clam = "clam"


class ExportDtype(StrEnum):
    """Type of the features."""

    float32 = "float32"
    stored = "stored"


def export(
    store: StoreArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Receives <slide_id>.h5.")
    ],
    file_format: Annotated[
        ExportFormat, typer.Option("--format", help="HDF5 with features and coords.")
    ] = ExportFormat.h5,
    encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Whose features; needed where there are several."),
    ] = None,
    layout: Annotated[
        ExportLayout, typer.Option(help="Whose attributes, where the two tools differ.")
    ] = ExportLayout.trident,
    dtype: Annotated[
        ExportDtype, typer.Option(help="float32, as most tools expect, or as stored.")
    ] = ExportDtype.float32,
    slide: SlideOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write features and coordinates as CLAM and TRIDENT keep them.

    One file a slide: features (N, D), coords (N, 2) in level-0 pixels with
    attributes. Files that are there already are skipped. The store is only
    read.

    Examples:

      wsikit export store -o h5 --format h5

      wsikit export store -o h5_files --encoder resnet18 --layout clam
    """
    from wsikit.stages.exchange.export import run_export

    outcome = run_export(
        store, output, encoder,
        layout=layout.value, dtype=dtype.value,
        slide_ids=slide, progress=make_progress(), overwrite=overwrite,
    )  # fmt: skip
    code = exit_code(outcome, "export")
    if outcome.done or outcome.skipped:
        print(output)
    raise typer.Exit(code)
