"""`wsikit inspect`: what wsikit sees in a slide or a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def inspect(
    path: Annotated[Path, typer.Argument(metavar="SLIDE|STORE", help="A slide file or a store.")],
    mpp: Annotated[
        str | None, typer.Option(metavar="UM", help="True um per level-0 px, if not stated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Show a slide's size, resolution and levels, or a store's slides.

    Examples:

      wsikit inspect slide.svs

      wsikit inspect store --json
    """
    from wsikit.stages.cohort import parse_mpp
    from wsikit.stages.inspection import inspect_path

    found = inspect_path(path, parse_mpp(mpp or "", "--mpp"))
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        _print(found)


def _print(value: Any, indent: str = "") -> None:
    for key, entry in value.items():
        if isinstance(entry, dict):
            print(f"{indent}{key}:")
            _print(entry, indent + "  ")
        elif isinstance(entry, list) and entry and isinstance(entry[0], dict):
            for number, item in enumerate(entry):
                words = ", ".join(f"{k} {_word(v)}" for k, v in item.items())
                print(f"{indent}{key}[{number}]: {words}")
        elif entry not in (None, ""):
            print(f"{indent}{key}: {_word(entry)}")


def _word(value: Any) -> str:
    if isinstance(value, list):
        return " x ".join(_word(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
