"""`wsikit inspect`: what wsikit sees in a slide or a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsikit.errors import UsageError

if TYPE_CHECKING:
    from wsikit.stages.inspection.patch_list import PatchList

MOST_LINES = 48
"""Patches listed on the terminal; a file or `--json` holds them all."""


def inspect(
    path: Annotated[Path, typer.Argument(metavar="SLIDE|STORE", help="A slide file or a store.")],
    mpp: Annotated[
        str | None, typer.Option(metavar="UM", help="True um per level-0 px, if not stated.")
    ] = None,
    patches: Annotated[
        bool, typer.Option("--patches", help="List one stored slide's patches, dropped ones too.")
    ] = False,
    slide: Annotated[
        str | None, typer.Option(metavar="ID", help="With --patches: which slide of the store.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --patches: write them all as CSV.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Show a slide's size, resolution and levels, or a store's slides.

    With --patches: where every patch of a slide's grid lies, its share of
    foreground, its entropy in bits, and whether it was kept or which filter
    dropped it.

    Examples:

      wsikit inspect slide.svs

      wsikit inspect store --json

      wsikit inspect store --slide a01 --patches --csv a01.csv
    """
    if patches:
        _inspect_patches(path, slide, csv, as_json)
        return
    if slide is not None or csv is not None:
        raise UsageError("--slide and --csv choose among patches", "add --patches")
    from wsikit.stages.cohort import parse_mpp
    from wsikit.stages.inspection.inspection import inspect_path

    found = inspect_path(path, parse_mpp(mpp or "", "--mpp"))
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        _print(found)


def _inspect_patches(path: Path, slide: str | None, csv: Path | None, as_json: bool) -> None:
    from wsikit.stages.inspection.patch_list import list_patches

    found = list_patches(path, slide)
    if csv is not None:
        found.write_csv(csv)
    if as_json:
        print(json.dumps(found.as_json(), indent=1))
    else:
        _print_patches(found, listed=csv is None)


def _print_patches(found: PatchList, listed: bool) -> None:
    print(f"slide: {found.slide_id}")
    print(f"grid: {found.grid.rows} x {found.grid.cols} patches of {found.grid.patch_px} px")
    for reason, count in found.decisions.counts().items():
        if count or reason == "kept":
            share = count / max(1, len(found))
            print(f"  {reason if reason == 'kept' else f'dropped by {reason}'}: "
                  f"{count:,} ({share:.1%})")  # fmt: skip
    if listed:
        shown = found.sample(MOST_LINES)
        _print_table(found, shown)
        if len(shown) < len(found):
            print(f"{len(shown)} of {len(found):,} patches, spread over the reasons; "
                  "all of them: --csv FILE or --json")  # fmt: skip


def _print_table(found: PatchList, shown: list[int]) -> None:
    print(f"{'row':>5} {'col':>5} {'x':>8} {'y':>8} {'foreground':>11} {'entropy':>8}  reason")
    for row, col, x, y, foreground, entropy, reason in found.rows(shown):
        numbers = f"{_measure(foreground, 3):>11} {_measure(entropy, 2):>8}"
        print(f"{row:>5} {col:>5} {x:>8} {y:>8} {numbers}  {reason}")


def _measure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


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
    """Write a size as `4 x 3`, a list of names with commas, and a truth as yes or no."""
    if isinstance(value, list):
        between = ", " if any(isinstance(v, str) for v in value) else " x "
        return between.join(_word(v) for v in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
