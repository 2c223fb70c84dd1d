"""`wsikit status`: what a store or run holds and what is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def status(
    path: Annotated[
        Path, typer.Argument(metavar="STORE|RUN", help="A store, a run, or predictions.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Say what is done, empty or failed, and why.

    Examples:

      wsikit status store

      wsikit status run --json
    """
    from wsikit.stages.inspection.state import state_of

    state = state_of(path)
    if as_json:
        print(json.dumps(state, indent=1))
    elif state["kind"] == "store":
        _print_store(state)
    elif state["kind"] == "predictions":
        _print_predictions(state)
    else:
        _print_run(state)


def _print_store(state: dict[str, Any]) -> None:
    tile = state["tile"]
    print(f"store {state['path']}: patches of {tile['size']} px at {tile['mpp']} um/px")
    for stage, counts in state["counts"].items():
        print(f"  {stage}: {', '.join(f'{n} {word}' for word, n in sorted(counts.items()))}")
    for slide_id, stages in state["slides"].items():
        failures = [
            f"{stage} failed: {entry['reason']}"
            for stage, entry in stages.items()
            if stage != "patches" and entry["state"] == "failed"
        ]
        found = stages["patches"]
        count = "damaged" if found is None else _counted(found, "patch", "es")
        print(f"  {slide_id}: {'; '.join([count, *failures])}")


def _print_predictions(state: dict[str, Any]) -> None:
    print(f"predictions {state['path']}: {_counted(state['slides'], 'slide', 's')}")
    print(f"  flagged as unlike those of training: {state['flagged']}")
    print(f"  slides with patch scores: {state['patch_tables']}")
    for slide_id, reason in state["failed"].items():
        print(f"  {slide_id}: failed: {reason}")


def _print_run(state: dict[str, Any]) -> None:
    print(f"run {state['path']}: {state['method']} on {state['encoder']}")
    print(f"  classes: {', '.join(state['classes'])}")
    print(f"  folds fitted: {state['folds_fitted']} of {state['folds']}")
    print(f"  predictions: {'yes' if state['predicted'] else 'not yet (wsikit train)'}")
    print(
        f"  slides with patch scores: {state['patch_tables']}, with heatmaps: {state['heatmaps']}"
    )
    print(f"  report: {'yes' if state['report'] else 'not yet (wsikit evaluate)'}")
    for slide_id, reason in state["left_out"].items():
        print(f"  left out: {slide_id}: {reason}")


def _counted(count: int, thing: str, plural: str) -> str:
    return f"{count} {thing}{'' if count == 1 else plural}"
