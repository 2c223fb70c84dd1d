"""The `wsikit` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from wsikit.cli.console import print_error, say
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
from wsikit.cli.streams import let_go_of, open_closed_streams
from wsikit.cli.tile import tile
from wsikit.cli.train import train
from wsikit.errors import UsageError, WsikitError

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
    open_closed_streams()
    try:
        _run()
    except WsikitError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except OSError as error:  # as a rule the output: on a disk that is full, or nobody reads on
        if not isinstance(error, BrokenPipeError):
            print_error(UsageError(f"{error.filename or 'the output'}: {error.strerror or error}"))
        let_go_of("stdout")
        sys.exit(1)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            say("interrupted; the same command continues where it stopped")
        raise


def _run() -> None:
    try:
        make_app()()
    finally:
        sys.stdout.flush()  # so that what cannot be written is found here, and not at the very end


if __name__ == "__main__":
    main()
