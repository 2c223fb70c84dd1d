"""`wsikit evaluate`: a run in, its numbers and report out."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsikit.errors import UsageError

if TYPE_CHECKING:
    from wsikit.stages.evaluation.evaluate import Evaluation
    from wsikit.stages.evaluation.pair import Comparison
    from wsikit.stages.evaluation.patch_truth import TruthEvaluation
    from wsikit.stages.evaluation.truth import TruthRule
    from wsikit.training.metrics.metrics import Interval


class Origin(StrEnum):
    """Where the program that drew the regions counts from."""

    qupath = "qupath"
    slide = "slide"


class PatchScore(StrEnum):
    """Which patch score to measure."""

    score = "score"
    attention = "attention"


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A trained run.")],
    other: Annotated[
        Path | None,
        typer.Argument(metavar="RUN2", help="Another one, to compare with; it is only read."),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Known regions: DIR/<slide_id>_mask.png, .geojson, or .xml of ASAP.",
        ),
    ] = None,
    store: Annotated[
        Path | None, typer.Option(metavar="STORE", help="The run's store; needed with --truth.")
    ] = None,
    region: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS", help="Only drawn areas of this class; repeatable."),
    ] = None,
    truth_class: Annotated[
        str | None,
        typer.Option(metavar="LABEL", help="The label that regions show. Default: the positive."),
    ] = None,
    min_inside: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Least part of a positive patch inside. Default: 0.5."),
    ] = None,
    score: Annotated[
        PatchScore | None, typer.Option(help="Which patch score to measure. Default: score.")
    ] = None,
    origin: Annotated[
        Origin | None,
        typer.Option(
            help="GeoJSON counts from the corner of what was scanned, as QuPath does (default), "
            "or from the slide's own."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Measure a run on its held-out slides; write metrics.json and report.html.

    With RUN2, also compare the two on the slides that both hold out:
    DeLong's test of the areas under the ROC curves, and the difference of
    every metric with its interval over patients.

    With --truth, also hold the patch scores that wsikit predict wrote
    against known regions: patch AUC, Dice, and lesions found against false
    alarms (FROC).

    metrics.json and report.html hold what the last call asked for.

    Examples:

      wsikit evaluate run

      wsikit evaluate run run_abmil

      wsikit evaluate run --truth annotations --store store --region Tumor

      wsikit evaluate run --json
    """
    rule = _rule(truth, region, truth_class, min_inside, score, origin)
    from wsikit.stages.evaluation.evaluate import run_evaluate

    result = run_evaluate(run, other, truth=rule, store=store)
    if as_json:
        print(json.dumps(result.to_json(), indent=1, allow_nan=False))
    else:
        print_metrics(result)
        print(run / "report.html")


def _rule(
    truth: Path | None,
    region: list[str] | None,
    truth_class: str | None,
    min_inside: float | None,
    score: PatchScore | None,
    origin: Origin | None,
) -> TruthRule | None:
    """Return what --truth and its companions ask for.

    Raises:
        UsageError: a companion without --truth, or a share out of range.
    """
    companions = {
        "--region": region, "--truth-class": truth_class, "--min-inside": min_inside,
        "--score": score, "--origin": origin,
    }  # fmt: skip
    given = [name for name, value in companions.items() if value not in (None, [])]
    if truth is None:
        if given:
            raise UsageError(f"{given[0]} without --truth", "name the folder of known regions")
        return None
    if min_inside is not None and not 0 < min_inside <= 1:
        raise UsageError(f"--min-inside {min_inside:g}", "give a share above 0 and up to 1")
    from wsikit.stages.evaluation.truth import POSITIVE_SHARE, TruthRule

    return TruthRule(
        folder=truth,
        regions=tuple(region or ()),
        least=POSITIVE_SHARE if min_inside is None else min_inside,
        shows=truth_class,
        column=(score or PatchScore.score).value,
        origin=(origin or Origin.qupath).value,
    )


def print_metrics(evaluation: Evaluation) -> None:
    """Print the pooled numbers with their intervals."""
    print("held-out slides, 95 % interval by bootstrap over patients:")
    for name, metric in evaluation.pooled.items():
        print(f"  {name:<22} {_number(metric)}")
    if evaluation.truth is not None:
        _print_truth(evaluation.truth)
    if evaluation.comparison is not None:
        _print_comparison(evaluation.comparison)


def _print_truth(truth: TruthEvaluation) -> None:
    print(f"patches of {len(truth.slides)} slides against known regions of {truth.shows}:")
    for name, number in truth.numbers.items():
        print(f"  {name:<22} {_number(number)}")
    if truth.froc is not None:
        print(f"  {'froc':<22} {_number(truth.froc.score)}")
    for slide_id, reason in truth.known.left_out.items():
        print(f"  left out: {slide_id}: {reason}")


def _print_comparison(both: Comparison) -> None:
    print(f"{both.names[1]} minus {both.names[0]}, on {both.slides} slides that both hold out:")
    for name, difference in both.differences.items():
        print(f"  {name:<22} {_number(difference, '+.3f')}")
    test = both.delong
    said = f"p = {test.p:.3g}, z = {test.z:.2f}" if test.p is not None else str(test.reason)
    print(f"  {'DeLong, auc':<22} {said}")
    for note in both.notes:
        print(f"  {note}")
    apart = {why.replace("_", " "): len(names) for why, names in both.unmatched.items() if names}
    if apart:
        listed = ", ".join(f"{count} {why}" for why, count in apart.items())
        print(f"  not compared: {listed}; metrics.json names them")


def _number(metric: Interval, form: str = ".3f") -> str:
    if metric.value is None:
        return f"undefined: {metric.reason}"
    if metric.low is None or metric.high is None:
        return f"{metric.value:{form}}"
    between = "-" if form == ".3f" else " to "
    return f"{metric.value:{form}} ({metric.low:{form}}{between}{metric.high:{form}})"
