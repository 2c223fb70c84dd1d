"""Compare two runs on the slides that both held out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsikit.errors import StoreError
from wsikit.stages.evaluation.slides import HeldOut, Metrics, arrays, interval_json
from wsikit.stages.heatmaps.run_scores import run_names
from wsikit.training.metrics.delong import DeLong, delong_test
from wsikit.training.metrics.metrics import classification_metrics, metric_differences

NOT_TWO_CLASSES = "DeLong's test is for two classes"


@dataclass(frozen=True)
class Comparison:
    """The second run beside the first, on slides that chose nothing in either.

    Attributes:
        names: what the runs are called.
        labels: (N,) int64, the shared slides' classes.
        probabilities: of each run, (N, C) float64, columns in the order of `classes`.
        classes: the labels, the positive one last.
        patients: how many patients the shared slides are of.
        metrics: of each run, on the shared slides.
        differences: second minus first, with intervals over patients.
        delong: the test of the areas.
        unmatched: slides that are not compared: `only_first`, `only_second`, and `other_file` for
            those of one name but two files.
        notes: what the reader must know.
    """

    names: tuple[str, str]
    labels: NDArray[np.int64]
    probabilities: tuple[NDArray[np.float64], NDArray[np.float64]]
    classes: tuple[str, ...]
    patients: int
    metrics: tuple[Metrics, Metrics]
    differences: Metrics
    delong: DeLong
    unmatched: dict[str, list[str]]
    notes: tuple[str, ...]

    @property
    def slides(self) -> int:
        """How many slides are compared."""
        return len(self.labels)

    @property
    def trust(self) -> str:
        """Which statement on the areas to trust: `delong`, or `bootstrap`."""
        dependent = self.patients < self.slides
        return "bootstrap" if dependent or self.delong.p is None else "delong"

    def to_json(self) -> dict[str, Any]:
        """Return what metrics.json holds."""
        first, second = self.metrics
        return {
            "first": self.names[0],
            "second": self.names[1],
            "slides": self.slides,
            "patients": self.patients,
            "metrics": {
                name: {
                    "first": interval_json(first[name]),
                    "second": interval_json(second[name]),
                    "difference": interval_json(self.differences[name]),
                }
                for name in first
            },
            "delong": self.delong._asdict(),
            "trust": self.trust,
            "unmatched": self.unmatched,
            "notes": list(self.notes),
        }


def compare(first: HeldOut, second: HeldOut) -> Comparison:
    """Compare two runs on the slides that both held out.

    A slide is the same where its id and the fingerprint of its file are. Seed and resamples are
    the first run's.

    Raises:
        StoreError: the runs have other classes, no held-out slide in common, or a slide has
            another label in each.
    """
    classes = _shared_classes(first, second)
    both, unmatched = _match(first, second)
    labels, ours = arrays(both, classes)
    theirs = both[[f"prob_{c}_second" for c in classes]].to_numpy(np.float64)
    options = {"bootstrap": first.config.train.bootstrap, "seed": first.config.seed}
    owners = both["patient_id"]
    ours_name, theirs_name = run_names([one.run.path.resolve() for one in (first, second)])
    if len(classes) == 2:
        test = delong_test(labels == 1, ours[:, 1], theirs[:, 1])
    else:
        test = DeLong(None, None, None, None, None, None, NOT_TWO_CLASSES)
    return Comparison(
        names=(ours_name, theirs_name),
        labels=labels,
        probabilities=(ours, theirs),
        classes=classes,
        patients=int(owners.nunique()),
        metrics=(
            classification_metrics(labels, ours, owners, **options),
            classification_metrics(labels, theirs, owners, **options),
        ),
        differences=metric_differences(labels, ours, theirs, owners, **options),
        delong=test,
        unmatched=unmatched,
        notes=tuple(_notes(first, second, both)),
    )


def _shared_classes(first: HeldOut, second: HeldOut) -> tuple[str, ...]:
    mine, other = first.facts.classes, second.facts.classes
    if first.run.path.resolve() == second.run.path.resolve():
        raise StoreError(f"{first.run.path}: the same run twice", "name another run")
    two = len(mine) == 2 and mine != other
    if set(mine) != set(other) or two:
        what = "detect" if set(mine) == set(other) else "tell apart"
        words = [(c[-1] if what == "detect" else ", ".join(c)) for c in (mine, other)]
        raise StoreError(
            f"{first.run.path} and {second.run.path} {what} different classes "
            f"({words[0]} | {words[1]})",
            "compare runs of the same labels",
        )
    return mine


def _match(first: HeldOut, second: HeldOut) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Join the held-out rows of two runs, and list what has no partner."""
    joined = first.table.merge(
        second.table, on="slide_id", how="outer", suffixes=("", "_second"), indicator=True
    )
    here = joined["_merge"] == "both"
    same = joined["fingerprint"] == joined["fingerprint_second"]
    both = joined[here & same].sort_values("slide_id", ignore_index=True)
    unmatched = {
        "only_first": sorted(joined.loc[joined["_merge"] == "left_only", "slide_id"]),
        "only_second": sorted(joined.loc[joined["_merge"] == "right_only", "slide_id"]),
        "other_file": sorted(joined.loc[here & ~same, "slide_id"]),
    }
    if both.empty:
        raise StoreError(
            f"{first.run.path} and {second.run.path} hold out no slide in common",
            "train both with the same cohort, seed and folds, or with a split column",
        )
    differ = both[both["label"] != both["label_second"]]
    if len(differ):
        row = differ.iloc[0]
        raise StoreError(
            f"slide '{row['slide_id']}' is '{row['label']}' in {first.run.path} and "
            f"'{row['label_second']}' in {second.run.path}",
            "compare runs of the same labels",
        )
    return both, unmatched


def _notes(first: HeldOut, second: HeldOut, both: pd.DataFrame) -> list[str]:
    notes = []
    slides, patients = len(both), both["patient_id"].nunique()
    if patients < slides:
        notes.append(
            f"The {slides} slides are of {patients} patients. DeLong's test takes slides as"
            " independent, which they are not, so its p is too small as a rule. Trust the"
            " interval of the difference, which resamples patients."
        )
    if len(first.facts.classes) > 2:
        notes.append(f"{NOT_TWO_CLASSES}; the intervals resample patients.")
    if first.facts.folds > 1 or second.facts.folds > 1:
        notes.append(
            "Pooled areas of a cross-validated run rank slides that different folds' models"
            " scored; the comparison is of the two ways to train, not of two single models."
        )
    if not (both["patient_id"] == both["patient_id_second"]).all():
        notes.append("The runs name the patients of some slides differently; the first's count.")
    return notes
