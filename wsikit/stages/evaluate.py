"""Evaluate: a run's held-out predictions in, metrics.json and report.html out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from wsikit.atomic import write_json
from wsikit.errors import StoreError
from wsikit.heads.registry import HEADS
from wsikit.methods import METHODS, PatchMethod
from wsikit.reports.run_report import RocCurve, RunReport, SlideRow, write_report
from wsikit.reports.text import Estimate
from wsikit.stages.run_folder import RunFacts, RunFolder
from wsikit.training.metrics import Interval, classification_metrics, roc_points

Metrics = dict[str, Interval]

SHOWN_AS = {"auc": "AUC", "f1": "F1", "brier": "Brier score"}


@dataclass(frozen=True)
class Evaluation:
    """The numbers of a run, from slides that chose nothing.

    Attributes:
        pooled: over all held-out slides.
        folds: fold -> over the slides it held out.
        patches: of a run that trained an encoder, the same over single patches.
    """

    pooled: Metrics
    folds: dict[str, Metrics]
    patches: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what metrics.json holds."""
        return {
            "pooled": {name: m._asdict() for name, m in self.pooled.items()},
            "folds": {
                fold: {name: m._asdict() for name, m in metrics.items()}
                for fold, metrics in self.folds.items()
            },
            **({"patches": self.patches} if self.patches else {}),
        }


def run_evaluate(run_path: Path) -> Evaluation:
    """Measure a run on its held-out slides, and write its metrics and report.

    Args:
        run_path: a trained run.

    Returns:
        The numbers.

    Raises:
        StoreError: the run is unfinished or its predictions do not fit it.
    """
    run = RunFolder(run_path)
    facts, config = run.facts(), run.config()
    predictions = run.predictions()
    # In a set order, since the resamples behind the intervals are drawn by row.
    held_out = predictions[predictions["split"] == "test"].sort_values(
        "slide_id", ignore_index=True
    )
    if held_out.empty:
        raise StoreError(f"{run_path}: no held-out slide is predicted", "run wsikit train first")
    _check(held_out, facts, run)

    def measure(table: pd.DataFrame) -> Metrics:
        labels, probabilities = _arrays(table, facts)
        return classification_metrics(
            labels, probabilities, table["patient_id"],
            bootstrap=config.train.bootstrap, seed=config.seed,
        )  # fmt: skip

    folds = {str(fold): measure(table) for fold, table in held_out.groupby("fold")}
    evaluation = Evaluation(measure(held_out), folds, run.patch_metrics())
    write_json(run.metrics_json, evaluation.to_json())
    write_report(run.report_html, _report(run, facts, predictions, held_out, evaluation))
    return evaluation


def _check(held_out: pd.DataFrame, facts: RunFacts, run: RunFolder) -> None:
    """Refuse predictions that are not the run's, or not of all it held out."""
    splits = run.splits()
    wanted = set(splits.loc[splits["split"] == "test", "slide_id"])
    left_out = sorted(wanted - set(held_out["slide_id"]))
    if left_out:
        raise StoreError(
            f"{run.path}: {len(left_out)} held-out slides have no prediction ({left_out[0]})",
            "predict them: figures without them would be of another cohort",
        )
    missing = {f"prob_{c}" for c in facts.classes} - set(held_out.columns)
    unknown = set(held_out["label"]) - set(facts.classes)
    if missing or unknown:
        what = f"lacks {sorted(missing)[0]}" if missing else f"has the label {sorted(unknown)[0]!r}"
        raise StoreError(f"{run.path}: predictions.csv {what}", "run wsikit predict again")


def _arrays(table: pd.DataFrame, facts: RunFacts) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    labels = np.array([facts.classes.index(label) for label in table["label"]])
    return labels, table[[f"prob_{c}" for c in facts.classes]].to_numpy(np.float64)


def _report(
    run: RunFolder,
    facts: RunFacts,
    predictions: pd.DataFrame,
    held_out: pd.DataFrame,
    evaluation: Evaluation,
) -> RunReport:
    positive = facts.classes[-1] if len(facts.classes) == 2 else None
    labels, probabilities = _arrays(held_out, facts)
    curves = []
    if positive is not None:
        for fold, table in held_out.groupby("fold"):
            curves += _curve(f"fold {fold}", table, facts, evaluation.folds[str(fold)])
    pooled = _curve("all held-out slides", held_out, facts, evaluation.pooled) if positive else []
    return RunReport(
        title=_title(run.path.resolve()),
        summary=_summary(facts, held_out),
        classes=facts.classes,
        positive=positive,
        pooled=_estimates(evaluation.pooled),
        per_fold={f"fold {f}": _estimates(m) for f, m in evaluation.folds.items()},
        roc=curves if len(curves) > 1 else [],
        roc_pooled=pooled[0] if pooled else None,
        confusion=confusion_matrix(
            labels, probabilities.argmax(axis=1), labels=range(len(facts.classes))
        ),
        slides=_rows(run, facts, predictions, positive),
        notes=_notes(run, facts, positive),
    )


def _title(path: Path) -> str:
    """Name the run; a folder called just "run" is told apart by the one it lies in."""
    return f"{path.parent.name} / {path.name}" if path.name == "run" else path.name


def _estimates(metrics: Metrics) -> dict[str, Estimate]:
    why = "undefined with these slides"
    return {
        SHOWN_AS.get(name, name.replace("_", " ")): Estimate(
            m.value, m.low, m.high, "" if m.value is not None else why
        )
        for name, m in metrics.items()
    }


def _curve(name: str, table: pd.DataFrame, facts: RunFacts, metrics: Metrics) -> list[RocCurve]:
    labels, probabilities = _arrays(table, facts)
    points = roc_points(labels == 1, probabilities[:, 1])
    if points is None:
        return []
    return [RocCurve(name, points.fpr, points.tpr, Estimate(*metrics["auc"]))]


def _summary(facts: RunFacts, held_out: pd.DataFrame) -> dict[str, str]:
    counts = held_out["label"].value_counts()
    return {
        "method": f"{facts.method}: {METHODS[facts.method].summary}",
        _encoder_row(facts): facts.encoder_id,
        "patches": f"{facts.tile_recipe['size']} px at {facts.tile_recipe['mpp']} um/px",
        "held-out slides": ", ".join(f"{counts.get(c, 0)} {c}" for c in facts.classes),
        "patients": str(held_out["patient_id"].nunique()),
        "folds": str(facts.folds),
        "seed": str(facts.seed),
        "wsikit": facts.versions["wsikit"],
    }


def _encoder_row(facts: RunFacts) -> str:
    """Name the row that says whose features were learnt from, or where an encoder started."""
    trained = isinstance(METHODS[facts.method], PatchMethod)
    return "encoder at the start" if trained else "encoder"


def _rows(
    run: RunFolder, facts: RunFacts, predictions: pd.DataFrame, positive: str | None
) -> list[SlideRow]:
    rows = []
    for known in predictions.to_dict("records"):
        slide_id = known["slide_id"]
        picture = run.heatmaps / f"{slide_id}.png"
        geojson = run.heatmaps / f"{slide_id}.geojson"
        parquet = run.patch_table(slide_id)
        fold = str(known["fold"])
        rows.append(
            SlideRow(
                slide_id=slide_id,
                state="done",
                patient_id=known["patient_id"] or None,
                label=known["label"] or None,
                predicted=known["pred"],
                probability=float(known[f"prob_{positive or known['pred']}"]),
                fold=int(float(fold)) if fold else None,
                split=known["split"] or None,
                patches=pyarrow.parquet.read_metadata(parquet).num_rows
                if parquet.exists()
                else None,
                heatmap=picture if picture.exists() else None,
                links={"GeoJSON for QuPath": geojson} if geojson.exists() else {},
            )
        )
    rows += [SlideRow(i, "failed", reason) for i, reason in sorted(facts.dropped.items())]
    return rows


def _notes(run: RunFolder, facts: RunFacts, positive: str | None) -> list[str]:
    method = METHODS[facts.method]
    kind = "probability" if isinstance(method, PatchMethod) else HEADS[method.head].score_kind
    split = (
        "Each slide was scored by a model that saw no slide of the same patient"
        if facts.folds > 1
        else "Held-out slides come from patients that no training or validation slide belongs to"
    )
    notes = [
        f"{split}; epochs were chosen on separate validation patients, never on held-out slides.",
        "Intervals are 95 % percentile intervals from a bootstrap over patients. They say how much"
        " the figure would vary with other patients of the same kind, not how it would fare at"
        " another hospital.",
        f"A patch score is the {kind} that the slide's classifier gives the patch alone"
        + (f", of being {positive}." if positive else "."),
        "For research use. Not a medical device; no diagnosis may rest on it.",
    ]
    if isinstance(method, PatchMethod):
        notes.append(
            "This run trained an encoder. A slide's probability is the mean over its patches, each"
            " of which was taught its slide's label."
        )
    elif "-random-" in facts.encoder_id:
        notes.append(
            "The encoder's weights are random, not trained: features are good enough for a"
            " demonstration, not for a study."
        )
    if facts.dropped:
        notes.append(f"{len(facts.dropped)} slides took no part; each is listed with its reason.")
    return notes
