"""The `wsikit` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from wsikit.cli.console import print_error
from wsikit.cli.demo import demo
from wsikit.cli.doctor import doctor
from wsikit.cli.encoders import encoders
from wsikit.cli.evaluate import evaluate
from wsikit.cli.export import export
from wsikit.cli.extract import extract
from wsikit.cli.graph import graph
from wsikit.cli.heatmap import heatmap
from wsikit.cli.ingest import make_ingest
from wsikit.cli.inspect import inspect
from wsikit.cli.predict import predict
from wsikit.cli.run import run
from wsikit.cli.search import search
from wsikit.cli.status import status
from wsikit.cli.tile import tile
from wsikit.cli.train import train
from wsikit.errors import WsikitError

COMMANDS = (
    tile, extract, graph, train, search, predict, heatmap, evaluate, export, run, status, inspect,
    encoders, doctor, demo,
)  # fmt: skip


INTERRUPTED = 130
"""The exit code that typer gives to Ctrl-C."""


def make_app() -> typer.Typer:
    """Assemble the command line."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
    app.callback()(_root)
    for command in COMMANDS:
        app.command(no_args_is_help=command not in (encoders, doctor, demo))(command)
    app.add_typer(make_ingest(), name="ingest")
    return app


def _version(asked: bool) -> None:
    if asked:
        from wsikit import __version__

        print(f"wsikit {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which wsikit.")
    ] = False,
) -> None:
    """Whole-slide images to slide-level predictions and heatmaps a pathologist can check.

    One command a stage: tile, extract, graph, train, predict, heatmap, evaluate. Each can be run
    again after anything; it does only what is left. `wsikit demo` shows the whole path on slides
    made on the spot.
    """


def main() -> None:
    """Run the command line; an error a user can act on is one line, never a traceback."""
    try:
        make_app()()
    except WsikitError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            print("interrupted; the same command continues where it stopped", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
