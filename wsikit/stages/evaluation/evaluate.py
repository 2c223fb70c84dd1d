"""Evaluate: a run's held-out predictions in, metrics.json and report.html out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsikit.atomic import write_json
from wsikit.errors import UsageError
from wsikit.reports.calibration import CalibrationBin, calibration_bins
from wsikit.reports.run_report import write_report
from wsikit.stages.evaluation.pair import compare
from wsikit.stages.evaluation.patch_truth import evaluate_truth
from wsikit.stages.evaluation.report import run_report
from wsikit.stages.evaluation.result import Evaluation
from wsikit.stages.evaluation.slides import HeldOut, arrays, read_held_out
from wsikit.stages.evaluation.truth import TruthRule
from wsikit.store.store import Store

__all__ = ["Evaluation", "run_evaluate"]


def run_evaluate(
    run_path: Path,
    other: Path | None = None,
    *,
    truth: TruthRule | None = None,
    store: Path | None = None,
) -> Evaluation:
    """Measure a run on its held-out slides, and write its metrics and report.

    Args:
        run_path: a trained run; receives `metrics.json` and `report.html`.
        other: a run to compare it with, on the slides that both hold out; nothing is written there.
        truth: known regions to hold patch scores against.
        store: the slides' store, needed with `truth`.

    Returns:
        The numbers.

    Raises:
        StoreError: a run is unfinished, its predictions do not fit it, or the two do not fit.
        UsageError: `truth` without `store`, or its folder is not there.
    """
    held_out = read_held_out(run_path)
    second = None if other is None else read_held_out(other)
    if truth is not None and store is None:
        raise UsageError(
            "known regions without the slides' store", "name it with --store: it knows their sizes"
        )
    evaluation = Evaluation(
        about=_about(held_out),
        pooled=held_out.measure(held_out.table),
        folds={
            str(fold): held_out.measure(table) for fold, table in held_out.table.groupby("fold")
        },
        calibration=_calibration(held_out),
        patches=held_out.run.patch_metrics(),
        truth=evaluate_truth(held_out, Store(store), truth) if truth and store else None,
        comparison=compare(held_out, second) if second else None,
    )
    write_json(held_out.run.metrics_json, evaluation.to_json())
    write_report(held_out.run.report_html, run_report(held_out, evaluation))
    return evaluation


def _about(held_out: HeldOut) -> dict[str, Any]:
    table, classes = held_out.table, held_out.facts.classes
    counts = table["label"].value_counts()
    return {
        "slides": len(table),
        "patients": int(table["patient_id"].nunique()),
        "classes": {name: int(counts.get(name, 0)) for name in classes},
        "positive": held_out.positive,
        "interval": "95 %, percentiles of a bootstrap over patients",
        "bootstrap": held_out.config.train.bootstrap,
        "seed": held_out.config.seed,
    }


def _calibration(held_out: HeldOut) -> tuple[CalibrationBin, ...]:
    """Group held-out slides by the probability of the positive class, or of the predicted one."""
    labels, probabilities = arrays(held_out.table, held_out.facts.classes)
    true: NDArray[np.bool_]
    if held_out.positive is not None:
        stated, true = probabilities[:, 1], labels == 1
    else:
        stated, true = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    return tuple(calibration_bins(stated, true, held_out.table["patient_id"].to_numpy()))
