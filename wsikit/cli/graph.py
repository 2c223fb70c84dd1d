"""`wsikit graph`: features in, nearest-neighbour graphs out."""

from __future__ import annotations

from typing import Annotated

import typer

from wsikit.cli.console import exit_code, make_progress
from wsikit.cli.options import (
    ConfigOption,
    OverwriteOption,
    SetOption,
    SlideOption,
    StoreArgument,
    resolve,
)


def graph(
    store: StoreArgument,
    encoder: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose features: a name or an encoder id.")
    ] = None,
    k: Annotated[int | None, typer.Option("--k", min=1, help="Neighbours a patch.")] = None,
    slide: SlideOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Join each patch to its nearest patches in feature space.

    Example:

      wsikit graph store --encoder resnet18 --k 8
    """
    from wsikit.stages.graph import run_graph

    settings = resolve(config, sets, {"extract.encoder": encoder, "graph.k": k})
    identity, outcome = run_graph(
        store, settings.graph, settings.extract.encoder,
        slide_ids=slide, progress=make_progress(), overwrite=overwrite,
    )  # fmt: skip
    code = exit_code(outcome, "graph")
    print(identity)
    raise typer.Exit(code)
