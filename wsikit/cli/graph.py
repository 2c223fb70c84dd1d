"""`wsikit graph`: features in, the edges between patches out."""

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
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="knn: alike patches; spatial: the 8 beside each; hybrid: both. Default: knn.",
        ),
    ] = None,
    k: Annotated[
        int | None, typer.Option("--k", min=1, help="Alike patches each is joined to. Default: 8.")
    ] = None,
    symmetrise: Annotated[
        bool | None,
        typer.Option(
            "--symmetrise/--directed",
            help="Join alike patches both ways (default), or only towards each from its own k.",
        ),
    ] = None,
    slide: SlideOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Join the patches of each slide by edges.

    Edges and the feature distance along each lie in the store under the
    graph's id, which is printed. Slides that have the graph are skipped.

    Slides of up to 30,000 patches are searched exactly. Beyond, alike patches
    are looked for in lists of near ones; the share of true neighbours found is
    measured on a sample (at least 0.98) and told.

    Examples:

      wsikit graph store --encoder resnet18

      wsikit graph store --encoder resnet18 --kind hybrid --k 5

      wsikit graph store --encoder resnet18 --set graph.exact_up_to=100000
    """
    from wsikit.stages.graphs.graph import run_graph

    flags = {
        "extract.encoder": encoder,
        "graph.kind": kind,
        "graph.k": k,
        "graph.symmetrise": symmetrise,
    }
    settings = resolve(config, sets, flags)
    identity, outcome = run_graph(
        store, settings.graph, settings.extract.encoder,
        slide_ids=slide, progress=make_progress(), overwrite=overwrite,
    )  # fmt: skip
    code = exit_code(outcome, "graph")
    print(identity)
    raise typer.Exit(code)
