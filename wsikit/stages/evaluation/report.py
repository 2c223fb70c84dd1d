"""Turn an evaluation into the page that a pathologist reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from wsikit.methods import METHODS
from wsikit.reports.run_report import RunReport, SlideRow
from wsikit.reports.sections import (
    ComparisonRow,
    ComparisonSection,
    FrocCurve,
    RocCurve,
    TruthRow,
    TruthSection,
)
from wsikit.reports.text import Estimate
from wsikit.stages.evaluation.pair import Comparison
from wsikit.stages.evaluation.patch_truth import TruthEvaluation
from wsikit.stages.evaluation.result import Evaluation
from wsikit.stages.evaluation.slides import HeldOut, Metrics, arrays
from wsikit.stages.prediction.patch_table import read_patches
from wsikit.training.metrics.metrics import Interval, roc_points

SHOWN_AS = {
    "auc": "AUC",
    "f1": "F1",
    "brier": "Brier score",
    "calibration_error": "calibration error",
}

UNMATCHED = {
    "only_first": "held out by this run alone",
    "only_second": "held out by the other run alone",
    "other_file": "of another file in the other run",
}

TRUTH_ROWS = {
    "auc": ("patch AUC", "how often a positive patch scores above another one, all slides pooled"),
    "auc_without_border": (
        "patch AUC without border patches",
        "the same, leaving out patches that a region only grazes",
    ),
    "auc_mean_over_slides": (
        "patch AUC, mean over slides",
        "each slide by itself; slides with only one kind of patch are left out",
    ),
    "dice": ("Dice", "overlap of the patches called positive with those that are, all slides"),
    "dice_mean_over_slides": (
        "Dice, mean over slides",
        "each slide by itself; slides without a positive patch are left out",
    ),
}


def run_report(held_out: HeldOut, evaluation: Evaluation) -> RunReport:
    """Lay out the page of a run.

    Args:
        held_out: the run and its held-out slides.
        evaluation: their numbers.
    """
    facts, positive = held_out.facts, held_out.positive
    labels, probabilities = arrays(held_out.table, facts.classes)
    curves: list[RocCurve] = []
    if positive is not None:
        for fold, table in held_out.table.groupby("fold"):
            fold_labels, scores = arrays(table, facts.classes)
            metrics = evaluation.folds[str(fold)]
            curves += _curve(f"fold {fold}", fold_labels == 1, scores[:, 1], metrics)
    pooled = (
        _curve("all held-out slides", labels == 1, probabilities[:, 1], evaluation.pooled)
        if positive is not None
        else []
    )
    return RunReport(
        title=held_out.title,
        summary=_summary(held_out),
        classes=facts.classes,
        positive=positive,
        measured=_measured(held_out),
        pooled=_estimates(evaluation.pooled),
        per_fold=_per_fold(evaluation.folds),
        roc=curves if len(curves) > 1 else [],
        roc_pooled=pooled[0] if pooled else None,
        calibration=evaluation.calibration,
        confusion=confusion_matrix(
            labels, probabilities.argmax(axis=1), labels=range(len(facts.classes))
        ),
        comparison=_comparison(evaluation.comparison) if evaluation.comparison else None,
        truth=_truth(evaluation.truth) if evaluation.truth else None,
        slides=_rows(held_out),
        notes=_notes(held_out, evaluation),
    )


def _curve(
    name: str, positive: NDArray[np.bool_], scores: NDArray[np.float64], metrics: Metrics
) -> list[RocCurve]:
    points = roc_points(positive, scores)
    if points is None:
        return []
    return [RocCurve(name, points.fpr, points.tpr, _estimate(metrics["auc"]))]


def _estimate(interval: Interval) -> Estimate:
    return Estimate(interval.value, interval.low, interval.high, interval.reason or "")


def _estimates(metrics: Metrics) -> dict[str, Estimate]:
    return {_shown(name): _estimate(interval) for name, interval in metrics.items()}


def _per_fold(folds: Mapping[str, Metrics]) -> dict[str, dict[str, Estimate]]:
    """Return the folds' numbers; calibration only where a fold is large enough for it."""
    large = any(metrics["calibration_error"].value is not None for metrics in folds.values())
    return {
        f"fold {fold}": _estimates(
            {n: m for n, m in metrics.items() if large or n != "calibration_error"}
        )
        for fold, metrics in folds.items()
    }


def _shown(name: str) -> str:
    return SHOWN_AS.get(name, name.replace("_", " "))


def _measured(held_out: HeldOut) -> str:
    table = held_out.table
    counts = table["label"].value_counts()
    classes = ", ".join(f"{counts.get(c, 0)} {c}" for c in held_out.facts.classes)
    slides = f"{len(table)} slides of {table['patient_id'].nunique()} patients: {classes}."
    if held_out.positive is None:
        return f"{slides} Where a metric knows two classes, it is the mean over one against rest."
    return (
        f"{slides} {held_out.positive} counts as positive, and a slide is called so where its"
        " probability is above 0.5."
    )


def _patches(recipe: Mapping[str, Any]) -> str:
    """Say what was learnt from; an ingested data set has pictures, and no um/px of all of them."""
    if "ingest" not in recipe:
        return f"{recipe['size']} px at {recipe['mpp']} um/px"
    kind = recipe.get("kind", "pictures")
    return f"{recipe['ingest']}: {kind}" + (f" of {recipe['side']} px" if "side" in recipe else "")


def _summary(held_out: HeldOut) -> dict[str, str]:
    facts = held_out.facts
    method = METHODS[facts.method]
    return {
        "method": f"{facts.method}: {method.summary}",
        "encoder" if _by_features(method) else "encoder at the start": facts.encoder_id,
        "patches": _patches(facts.tile_recipe),
        "folds": str(facts.folds),
        "seed": str(facts.seed),
        "wsikit": facts.versions["wsikit"],
    }


def _by_features(method: object) -> bool:
    """Tell whether a method learns from features; others train their encoder on pixels."""
    return hasattr(method, "head")


def _rows(held_out: HeldOut) -> list[SlideRow]:
    run, positive, rows = held_out.run, held_out.positive, []
    for known in held_out.predictions.to_dict("records"):
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
    dropped = sorted(held_out.facts.dropped.items())
    return rows + [SlideRow(slide_id, "failed", reason) for slide_id, reason in dropped]


def _comparison(both: Comparison) -> ComparisonSection:
    first, second = both.metrics
    roc: list[RocCurve] = []
    if len(both.classes) == 2:
        for name, scores, metrics in zip(both.names, both.probabilities, both.metrics, strict=True):
            roc += _curve(name, both.labels == 1, scores[:, 1], metrics)
    return ComparisonSection(
        names=both.names,
        slides=both.slides,
        patients=both.patients,
        rows=[
            ComparisonRow(
                _shown(name),
                _estimate(first[name]),
                _estimate(second[name]),
                _estimate(both.differences[name]),
            )
            for name in first
        ],
        verdict=_verdict(both),
        roc=roc,
        unmatched={UNMATCHED[why]: names for why, names in both.unmatched.items()},
        notes=[
            *both.notes,
            *_tested(both),
            "A difference whose interval holds 0 may be chance. No difference found is not the"
            " same as no difference: with few slides only a large one can be found.",
        ],
    )


def _verdict(both: Comparison) -> str:
    """Say in a sentence whether the areas differ, by the statement that is to be trusted."""
    area, test = both.differences["auc"], both.delong
    if area.value is None:
        return f"The areas under the curves cannot be compared: {area.reason}."
    if both.trust == "delong" and test.p is not None:
        differ, by = test.p < 0.05, f"DeLong's test, {_p_value(test.p)}"
    elif area.low is None or area.high is None:
        return f"Whether the areas differ cannot be said: {area.reason}."
    else:
        differ = not area.low <= 0 <= area.high
        by = "95 % interval of the difference, bootstrap over patients"
    found = "differ by more than chance would explain" if differ else "do not differ demonstrably"
    return f"The areas under the curves {found} ({by})."


def _tested(both: Comparison) -> list[str]:
    """Give DeLong's test where the verdict rests on the bootstrap, for those who ask for it."""
    test = both.delong
    if both.trust == "delong" or test.p is None or test.z is None:
        return []
    return [f"DeLong's test of the areas, for the record: z = {test.z:.2f}, {_p_value(test.p)}."]


def _p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _truth(truth: TruthEvaluation) -> TruthSection:
    rows = [
        TruthRow(name, _estimate(truth.numbers[key]), words)
        for key, (name, words) in TRUTH_ROWS.items()
    ]
    curve = None
    if truth.froc is not None:
        rows.append(
            TruthRow(
                "FROC score",
                _estimate(truth.froc.score),
                "mean share of lesions found at 1/4, 1/2, 1, 2, 4 and 8 false alarms a slide",
            )
        )
        at_rates = {rate: _estimate(found) for rate, found in truth.froc.at_rates.items()}
        curve = FrocCurve(truth.froc.rates, truth.froc.sensitivity, at_rates, truth.froc.lesions)
    return TruthSection(
        summary=_truth_summary(truth),
        rows=rows,
        froc=curve,
        left_out=truth.known.left_out,
        notes=_truth_notes(truth),
    )


def _truth_summary(truth: TruthEvaluation) -> str:
    patches = sum(slide["patches"] for slide in truth.slides.values())
    positive = sum(slide["positive"] for slide in truth.slides.values())
    return (
        f"{patches:,} patches of {len(truth.slides)} held-out slides, {positive:,} of them"
        f" positive: at least {100 * truth.least:g} % of the patch lies in a known region of"
        f" {truth.shows}. Their score is the {truth.meaning}."
    )


def _truth_notes(truth: TruthEvaluation) -> list[str]:
    notes = [
        f"For Dice a patch is called positive from a score of {truth.threshold:.3g} on"
        f" ({truth.threshold_from}).",
        "No patch was labelled for training unless the method says so, and overlap is counted in"
        " whole patches: a region smaller than half a patch cannot be overlapped.",
    ]
    if truth.froc is not None:
        notes.append(
            "A lesion is a connected region. It is found by a patch that overlaps it and scores"
            " higher than those around it; such a patch outside every lesion is a false alarm."
        )
    if truth.known.without_file:
        notes.append(
            f"{len(truth.known.without_file)} slides of another class have no file and are taken"
            " to hold no region."
        )
    return notes


def _notes(held_out: HeldOut, evaluation: Evaluation) -> list[str]:
    facts = held_out.facts
    method = METHODS[facts.method]
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
        *_certain(evaluation.pooled),
        *_left_out(evaluation.pooled),
        *_patch_score(held_out),
        "For research use. Not a medical device; no diagnosis may rest on it.",
    ]
    if own := getattr(method, "note", ""):
        notes.append(own)
    elif "-random-" in facts.encoder_id:
        notes.append(
            "The encoder's weights are random, not trained: features are good enough for a"
            " demonstration, not for a study."
        )
    if facts.dropped:
        notes.append(f"{len(facts.dropped)} slides took no part; each is listed with its reason.")
    return notes


def _certain(pooled: Metrics) -> list[str]:
    """Warn where an interval of no width looks like certainty (rule of three, Hanley 1983)."""
    if not any(m.value is not None and m.low == m.high == m.value for m in pooled.values()):
        return []
    return [
        "An interval without width, such as 1.00 to 1.00, says only that these patients hold no"
        " counter-example. After n patients without one, up to 3 in n of the others may be one."
    ]


def _left_out(pooled: Metrics) -> list[str]:
    """Name the intervals that not all resamples gave."""
    return [
        f"{_shown(name)}: {metric.reason}."
        for name, metric in pooled.items()
        if metric.low is not None and metric.reason
    ]


def _patch_score(held_out: HeldOut) -> list[str]:
    """Say what a patch score means, as the patch tables themselves do."""
    tables = (held_out.run.patch_table(slide_id) for slide_id in held_out.table["slide_id"])
    table = next((path for path in tables if path.exists()), None)
    if table is None:
        return []
    if read_patches(table).attrs.get("kind") == "attention":
        return [
            "A patch score is attention: how much the patch weighed in the slide's score. It says"
            " what the model looked at, not what it found."
        ]
    of = f", of being {held_out.positive}" if held_out.positive else ""
    return [
        f"A patch score is the probability that the slide's classifier gives the patch alone{of}."
    ]
