"""`wsikit ingest`: what other tools and data sets hold, in; a store, out. One command a source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wsikit.cli.console import exit_code, make_progress
from wsikit.cli.options import OverwriteOption, SlideOption

StoreOption = Annotated[Path, typer.Option("--output", "-o", metavar="STORE", help="The store.")]


def h5(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Holds <slide_id>.h5, or h5_files/ with them.")
    ],
    output: StoreOption,
    encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Who made the features, if the files do not say."),
    ] = None,
    mpp: Annotated[
        str | None, typer.Option(metavar="UM", help="True um per level-0 px of all slides.")
    ] = None,
    slides: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|COHORT.csv",
            help="Slide files, for size, um per px and thumbnail, as far as they are there.",
        ),
    ] = None,
    coords: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Patch files: CLAM's patches/, TRIDENT's patches/."),
    ] = None,
    patch_size_level0: Annotated[
        int | None,
        typer.Option(
            "--patch-size-level0", metavar="PX", min=1, help="Side of a patch in level-0 px."
        ),
    ] = None,
    size_from_patches: Annotated[
        bool,
        typer.Option(
            "--size-from-patches", help="A slide whose size none states ends at its patches."
        ),
    ] = False,
    slide: SlideOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Take over features that CLAM, TRIDENT or wsikit export wrote.

    The store then holds patches and features but no pixels: graph, train,
    predict, heatmap and evaluate work as ever, extract does not. Nothing is
    guessed: what the files do not say is asked for by name. Files taken before
    are skipped.

    Examples:

      wsikit ingest h5 20x_256px_0px_overlap/features_uni_v1 -o store --encoder uni_v1 --slides wsi

      wsikit ingest h5 FEATURES --coords PATCHES -o store --encoder uni --mpp 0.25

      wsikit ingest h5 exported -o store
    """
    from wsikit.stages.cohort import parse_mpp
    from wsikit.stages.exchange.ingest_h5 import H5Options, run_ingest_h5

    options = H5Options(
        encoder=encoder,
        mpp=parse_mpp(mpp or "", "--mpp"),
        slides=slides,
        coords=coords,
        patch_size_level0=patch_size_level0,
        size_from_patches=size_from_patches,
    )
    identity, outcome = run_ingest_h5(
        folder, output, options, slide_ids=slide, progress=make_progress(), overwrite=overwrite
    )
    code = exit_code(outcome, "ingest")
    if identity:
        print(identity)
    raise typer.Exit(code)


SOURCES = (h5,)


def make_ingest() -> typer.Typer:
    """Assemble the sub-commands."""
    app = typer.Typer(
        no_args_is_help=True,
        help="Take over what other tools and data sets hold.",
    )
    for source in SOURCES:
        app.command(no_args_is_help=True)(source)
    return app
