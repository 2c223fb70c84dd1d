"""One run as one HTML page that a pathologist opens, reads and prints, with no network at all.

The caller hands in ready numbers and picture files. Slide names and labels are untrusted text: the
template escapes everything, and a content security policy allows only this page's own script.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from wsikit.atomic import whole_file
from wsikit.reports.calibration import CalibrationBin
from wsikit.reports.pictures import INLINE_BYTES, Picture, inline_pictures, relative_link
from wsikit.reports.plot import Curve, Plot, calibration_plot, froc_plot, roc_plot
from wsikit.reports.sections import ComparisonSection, RocCurve, TruthSection
from wsikit.reports.text import Estimate, breakable, clean, interval, number, share, signed

__all__ = ["RocCurve", "RunReport", "SlideRow", "render", "write_report"]

SlideState = Literal["done", "empty", "failed"]
"""What became of a slide: it has a prediction, it holds no tissue, or it could not be processed."""


@dataclass(frozen=True)
class SlideRow:
    """What is known of one slide.

    Attributes:
        slide_id: its name.
        state: what became of it.
        reason: why it has no prediction; empty where it is done.
        patient_id: whose slide it is.
        label: the true class.
        predicted: the predicted class.
        probability: of `RunReport.positive` where that is set, else of the predicted class; 0..1.
        fold: the fold whose test part held it.
        split: train, val or test.
        patches: how many were kept.
        heatmap: its PNG.
        links: what else belongs to it, name to file ("GeoJSON"); written relative to the page.
    """

    slide_id: str
    state: SlideState
    reason: str = ""
    patient_id: str | None = None
    label: str | None = None
    predicted: str | None = None
    probability: float | None = None
    fold: int | None = None
    split: str | None = None
    patches: int | None = None
    heatmap: Path | None = None
    links: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class RunReport:
    """All that the page shows.

    Attributes:
        title: heading.
        measured: what the result is of, in a sentence ("48 slides of 36 patients").
        summary: the run in key and value ("method": "gated ABMIL").
        classes: names, in the order of the confusion matrix.
        positive: the class that ROC and probabilities speak of; None where there are several.
        pooled: metric name to estimate, over all held-out slides.
        per_fold: fold name to the same metrics.
        roc: one curve a fold.
        roc_pooled: the curve over all held-out slides.
        calibration: held-out slides in groups of similar probability: of `positive`, or of the
            predicted class; none where there are too few.
        confusion: (C, C) int, rows the truth, columns the prediction; None without a test.
        comparison: another run beside this one; None without.
        truth: patch scores beside known regions; None without.
        slides: every slide of the cohort, failed ones too.
        notes: what the reader must know: what a score means, how the split was made, the limits.
    """

    title: str
    summary: Mapping[str, str]
    classes: Sequence[str]
    positive: str | None = None
    measured: str = ""
    pooled: Mapping[str, Estimate] = field(default_factory=dict)
    per_fold: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    roc: Sequence[RocCurve] = ()
    roc_pooled: RocCurve | None = None
    calibration: Sequence[CalibrationBin] = ()
    confusion: NDArray[np.int64] | None = None
    comparison: ComparisonSection | None = None
    truth: TruthSection | None = None
    slides: Sequence[SlideRow] = ()
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        count = len(self.classes)
        if self.confusion is not None and self.confusion.shape != (count, count):
            raise ValueError(f"confusion {self.confusion.shape} does not fit {count} classes")


@dataclass(frozen=True)
class _Verdict:
    """How a prediction compares with the truth: a mark, a word, and a class for the style sheet."""

    mark: str
    word: str
    style: str


@dataclass(frozen=True)
class _Entry:
    """One line of the slide table, and the number that its heatmap is found by."""

    index: int
    row: SlideRow
    verdict: _Verdict
    picture: Picture | None
    links: Mapping[str, str]


def write_report(path: Path, report: RunReport, *, inline_bytes: int = INLINE_BYTES) -> None:
    """Write the page.

    Args:
        path: the HTML file to write; links and pictures left outside are named relative to it.
        report: what it shows.
        inline_bytes: how much of the page heatmaps may take up; the slides predicted wrongly come
            first, and those that do not fit are linked.

    Raises:
        UsageError: the file cannot be written.
    """
    html = render(report, path.parent, inline_bytes)
    with whole_file(path) as temporary:
        temporary.write_bytes(html.encode("utf-8", "replace"))


def render(report: RunReport, folder: Path, inline_bytes: int = INLINE_BYTES) -> str:
    """Return the page as text.

    Args:
        report: what it shows.
        folder: where the page will lie.
        inline_bytes: how much of the page heatmaps may take up.
    """
    entries = _entries(report, folder, inline_bytes)
    script = _resource("sorted_table.js") + _resource("run_report.js")
    environment = Environment(
        loader=DictLoader({"page": _resource("run_report.html.j2")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=clean,
    )
    environment.filters.update(
        number=number, share=share, signed=signed, interval=interval, breakable=breakable
    )
    return environment.get_template("page").render(
        report=report,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup(_resource("run_report.css")),
        entries=entries,
        lost=[row for row in report.slides if row.state != "done"],
        metric_names=list(
            dict.fromkeys(name for fold in report.per_fold.values() for name in fold)
        ),
        shown=sum(e.picture is not None and e.picture.data is not None for e in entries),
        linked=sum(e.picture is not None and e.picture.only_linked for e in entries),
        roc=_roc(report.roc, report.roc_pooled),
        pair=_pair(report.comparison),
        froc=froc_plot(report.truth.froc) if report.truth and report.truth.froc else None,
        calibration=_calibration(report),
        confusion=None if report.confusion is None else report.confusion.tolist(),
        probability_of=report.positive or "the predicted class",
    )


def _resource(name: str) -> str:
    return files("wsikit.reports").joinpath(name).read_text("utf-8")


def _entries(report: RunReport, folder: Path, inline_bytes: int) -> list[_Entry]:
    """Return the slides that have a prediction, those predicted wrongly first."""
    judged = [(row, _verdict(row, report)) for row in report.slides if row.state == "done"]
    judged.sort(key=lambda pair: (pair[1].style != "wrong", pair[0].slide_id))
    pictures = inline_pictures([row.heatmap for row, _ in judged], folder, inline_bytes)
    return [
        _Entry(
            i,
            row,
            verdict,
            picture,
            {name: relative_link(path, folder) for name, path in row.links.items()},
        )
        for i, ((row, verdict), picture) in enumerate(zip(judged, pictures, strict=True), 1)
    ]


def _verdict(row: SlideRow, report: RunReport) -> _Verdict:
    """Say whether a prediction is right, in words that do not need colour."""
    if row.label is None or row.predicted is None:
        return _Verdict("?", "no label" if row.label is None else "no prediction", "open")
    if row.label == row.predicted:
        return _Verdict("\N{CHECK MARK}", "correct", "right")
    if len(report.classes) == 2 and row.predicted == report.positive:
        return _Verdict("\N{BALLOT X}", "false positive", "wrong")
    if len(report.classes) == 2 and row.label == report.positive:
        return _Verdict("\N{BALLOT X}", "false negative", "wrong")
    return _Verdict("\N{BALLOT X}", "wrong", "wrong")


def _roc(folds: Sequence[RocCurve], pooled: RocCurve | None) -> Plot | None:
    """Draw the pooled curve thick, and every fold thin over it."""
    curves = [Curve(c.name, c.fpr, c.tpr, number(c.auc), False) for c in folds]
    if pooled is not None:
        curves.insert(0, Curve(pooled.name, pooled.fpr, pooled.tpr, number(pooled.auc), True))
    return roc_plot(curves) if curves else None


def _pair(comparison: ComparisonSection | None) -> Plot | None:
    """Draw this run's curve thick and the other's thin and dashed."""
    if comparison is None or not comparison.roc:
        return None
    return _roc(comparison.roc[1:], comparison.roc[0])


def _calibration(report: RunReport) -> Plot | None:
    if not report.calibration:
        return None
    y_words = "share that was positive" if report.positive else "share that was right"
    return calibration_plot(report.calibration, y_words)
