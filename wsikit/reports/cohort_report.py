"""All slides of a run as one HTML page: predictions, flags, small heatmaps, links to their files.

The page holds all it shows and asks for nothing. Slide names and labels are untrusted text: the
template escapes everything, and a content security policy allows only this page's own script.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Literal

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from wsikit.atomic import whole_file
from wsikit.reports.pictures import INLINE_BYTES, relative_link
from wsikit.reports.text import Estimate, breakable, clean, number, share

__all__ = ["CohortReport", "CohortRow", "render_cohort", "write_cohort_page"]

State = Literal["done", "empty", "failed", "open"]
"""It has a prediction, no tissue was found in it, a stage failed on it, or it waits for one."""


SOME_COLUMNS = ("patient_id", "label", "split")
"""What is not known of slides new to a run; a column that would be empty is left out."""


@dataclass(frozen=True)
class CohortRow:
    """What is known of one slide.

    Attributes:
        slide_id: its name.
        state: what became of it.
        reason: why it has no prediction, or what could not be drawn; empty where all is well.
        patient_id: whose slide it is.
        label: the true class; empty where it is not known.
        split: train, val or test in the run that scored it; empty of a slide new to it.
        predicted: the predicted class; empty where there is none.
        probability: of `CohortReport.probability_of`, 0..1; None where there is none.
        models: lowest and highest of what several models gave it; None where one did.
        patches: how many were scored; None where it is not known.
        flags: what a reader must know before believing the prediction.
        thumbnail: a small JPEG of the heatmap; None where there is none.
        links: what was written of it, by name; named relative to the page.
    """

    slide_id: str
    state: State
    reason: str = ""
    patient_id: str = ""
    label: str = ""
    split: str = ""
    predicted: str = ""
    probability: float | None = None
    models: tuple[float, float] | None = None
    patches: int | None = None
    flags: tuple[str, ...] = ()
    thumbnail: bytes | None = None
    links: Mapping[str, Path] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Say in a word how the prediction and the label compare; empty where that says nothing."""
        if not self.predicted or not self.label or self.split == "train":
            return ""
        return "right" if self.predicted == self.label else "wrong"


@dataclass(frozen=True)
class CohortReport:
    """All that the page shows.

    Attributes:
        title: heading.
        probability_of: what the probabilities are of, in words.
        meaning: what a patch's colour stands for, in words; empty where no patch is scored.
        rows: every slide.
        measured: metric name to estimate over the slides that were held out; none without.
        notes: what the reader must know, a sentence or two each.
        colours: what low and high look like, as CSS colours from low to high.
    """

    title: str
    probability_of: str
    meaning: str
    rows: Sequence[CohortRow]
    measured: Mapping[str, Estimate] = field(default_factory=dict)
    notes: Sequence[str] = ()
    colours: Sequence[str] = ()


@dataclass(frozen=True)
class _Entry:
    """One line of the table, as the template writes it."""

    row: CohortRow
    picture: str | None
    links: Mapping[str, str]
    words: str


def write_cohort_page(
    path: Path, report: CohortReport, *, inline_bytes: int = INLINE_BYTES
) -> None:
    """Write the page.

    Args:
        path: the HTML file to write; links are relative to it.
        report: what it shows.
        inline_bytes: how much of it small heatmaps may take up.

    Raises:
        UsageError: the file cannot be written.
    """
    html = render_cohort(report, path.parent, inline_bytes)
    with whole_file(path) as temporary:
        temporary.write_bytes(html.encode("utf-8", "replace"))


def render_cohort(report: CohortReport, folder: Path, inline_bytes: int = INLINE_BYTES) -> str:
    """Return the page as text; see `write_cohort_page`.

    Args:
        report: what it shows.
        folder: where the page will lie.
        inline_bytes: how much of it small heatmaps may take up.
    """
    script = _resource("sorted_table.js") + _resource("cohort_report.js")
    entries = _entries(report, folder, inline_bytes)
    environment = Environment(
        loader=DictLoader({"page": _resource("cohort_report.html.j2")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=clean,
    )
    environment.filters.update(number=number, share=share, breakable=breakable)
    pictures = sum(row.thumbnail is not None for row in report.rows)
    return environment.get_template("page").render(
        report=report,
        entries=entries,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup(_resource("run_report.css") + _resource("cohort_report.css")),
        counts=Counter(row.state for row in report.rows),
        flagged=sum(bool(row.flags) for row in report.rows),
        ranges=any(row.models for row in report.rows),
        columns={name for row in report.rows for name in SOME_COLUMNS if getattr(row, name)},
        left_out=pictures - sum(entry.picture is not None for entry in entries),
    )


def _resource(name: str) -> str:
    return files("wsikit.reports").joinpath(name).read_text("utf-8")


def _entries(report: CohortReport, folder: Path, inline_bytes: int) -> list[_Entry]:
    """Return the table's lines: what needs attention, then what is predicted, then the rest."""
    rows = sorted(report.rows, key=_attention)
    entries, room = [], inline_bytes
    for row in rows:
        data = base64.b64encode(row.thumbnail).decode() if row.thumbnail else None
        if data is not None and len(data) > room:
            data = None
        room -= len(data or "")
        links = {name: relative_link(path, folder) for name, path in row.links.items()}
        words = " ".join((row.slide_id, row.patient_id, row.label, row.predicted, *row.flags))
        entries.append(_Entry(row, data, links, words.lower()))
    return entries


def _attention(row: CohortRow) -> tuple[int, float, str]:
    order = {"failed": 0, "empty": 1, "done": 2, "open": 3}
    return order[row.state], -(row.probability or 0.0), row.slide_id
