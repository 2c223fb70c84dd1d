"""`wsikit evaluate`: a run in, its numbers and report out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from wsikit.stages.evaluate import Evaluation


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A trained run.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Measure a run on its held-out slides; write metrics.json and report.html.

    Example:

      wsikit evaluate run
    """
    from wsikit.stages.evaluate import run_evaluate

    result = run_evaluate(run)
    if as_json:
        print(json.dumps(result.to_json(), indent=1))
    else:
        print_metrics(result)
        print(run / "report.html")


def print_metrics(evaluation: Evaluation) -> None:
    """Print the pooled numbers with their intervals."""
    print("held-out slides, 95 % interval by bootstrap over patients:")
    for name, metric in evaluation.pooled.items():
        print(f"  {name:<18} {_number(metric.value, metric.low, metric.high)}")


def _number(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "undefined with these slides"
    if low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({low:.3f}-{high:.3f})"
