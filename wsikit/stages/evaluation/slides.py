"""What a run predicted for the slides it held out, checked against what it should hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsikit.config import Config
from wsikit.errors import StoreError, few
from wsikit.stages.run_folder import RunFacts, RunFolder
from wsikit.training.metrics.metrics import Interval, classification_metrics

Metrics = dict[str, Interval]


@dataclass(frozen=True)
class HeldOut:
    """A run's held-out slides.

    Attributes:
        run: the run's folder.
        facts: what is known of it.
        config: its resolved configuration.
        predictions: every row of predictions.csv.
        table: the held-out rows, sorted by slide id, with the slides' fingerprints.
    """

    run: RunFolder
    facts: RunFacts
    config: Config
    predictions: pd.DataFrame
    table: pd.DataFrame

    @property
    def title(self) -> str:
        """Name the run."""
        return run_title(self.run.path)

    @property
    def positive(self) -> str | None:
        """The class to detect where there are two, else None."""
        classes = self.facts.classes
        return classes[-1] if len(classes) == 2 else None

    def measure(self, table: pd.DataFrame) -> Metrics:
        """Compute every metric of some held-out rows, with intervals over patients."""
        labels, probabilities = arrays(table, self.facts.classes)
        return classification_metrics(
            labels, probabilities, table["patient_id"],
            bootstrap=self.config.train.bootstrap, seed=self.config.seed,
        )  # fmt: skip


def run_title(path: Path) -> str:
    """Name a run; a folder called just "run" is told apart by the one it lies in."""
    path = path.resolve()
    return f"{path.parent.name} / {path.name}" if path.name == "run" else path.name


def read_held_out(path: Path) -> HeldOut:
    """Read a run's held-out slides.

    Raises:
        StoreError: the run is unfinished or its predictions do not fit it.
    """
    run = RunFolder(path)
    facts, config = run.facts(), run.config()
    predictions = run.predictions()
    # In a set order, since the resamples behind the intervals are drawn by row.
    table = predictions[predictions["split"] == "test"].sort_values("slide_id", ignore_index=True)
    if table.empty:
        raise StoreError(f"{path}: no held-out slide is predicted", "run wsikit train first")
    splits = run.splits()
    _check(table, splits, facts, path)
    _check_scores(predictions, facts, path)
    tested = splits[splits["split"] == "test"].drop_duplicates("slide_id")
    prints = tested.set_index("slide_id")["fingerprint"]
    table = table.assign(fingerprint=table["slide_id"].map(prints).fillna("").astype(str))
    return HeldOut(run, facts, config, predictions, table)


def arrays(
    table: pd.DataFrame, classes: tuple[str, ...]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return labels (N,) as numbers of `classes`, and probabilities (N, C)."""
    labels = np.array([classes.index(label) for label in table["label"]], np.int64)
    return labels, table[[f"prob_{c}" for c in classes]].to_numpy(np.float64)


def interval_json(interval: Interval) -> dict[str, Any]:
    """Return what a machine reads of a number: value, low, high, reason."""
    return interval._asdict()


def metrics_json(metrics: Metrics) -> dict[str, Any]:
    """Return what a machine reads of several."""
    return {name: interval_json(interval) for name, interval in metrics.items()}


def _check(table: pd.DataFrame, splits: pd.DataFrame, facts: RunFacts, path: Path) -> None:
    """Refuse predictions that are not the run's, or not of all it held out."""
    wanted = set(splits.loc[splits["split"] == "test", "slide_id"])
    left_out = sorted(wanted - set(table["slide_id"]))
    if left_out:
        raise StoreError(
            f"{path}: {len(left_out)} of {len(wanted)} held-out slides have no prediction "
            f"({few(left_out)})",
            "predict them: figures without them would be of another cohort",
        )
    missing = {f"prob_{c}" for c in facts.classes} - set(table.columns)
    unknown = set(table["label"]) - set(facts.classes)
    if missing or unknown:
        what = f"lacks {sorted(missing)[0]}" if missing else f"has the label {sorted(unknown)[0]!r}"
        raise StoreError(f"{path}: predictions.csv {what}", "run wsikit predict again")


def _check_scores(predictions: pd.DataFrame, facts: RunFacts, path: Path) -> None:
    """Refuse what are no scores, of any slide: the report shows those not held out as well."""
    again = "run wsikit predict again"
    for column in (f"prob_{c}" for c in facts.classes):
        right = pd.to_numeric(predictions[column], errors="coerce").between(0, 1)
        for slide_id, value in predictions.loc[~right, ["slide_id", column]].to_numpy():
            raise StoreError(
                f"{path}: predictions.csv has {str(value)!r} for {column} of {slide_id}",
                f"a probability is from 0 to 1: {again}",
            )
    for slide_id, word in predictions[["slide_id", "pred"]].to_numpy():
        if word not in facts.classes:
            raise StoreError(f"{path}: predictions.csv has {word!r} for pred of {slide_id}", again)
