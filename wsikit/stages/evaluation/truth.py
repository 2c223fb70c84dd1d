"""Patch scores of a run's slides beside the regions known to be positive."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsikit.errors import ConfigError, StoreError, UsageError, nearest
from wsikit.stages.evaluation.known_regions import (
    KnownRegions,
    Patches,
    known_regions,
    no_regions,
    read_mask,
    region_file,
)
from wsikit.stages.labelled import source_fingerprint
from wsikit.stages.prediction.patch_table import read_patches
from wsikit.stages.run_folder import RunFacts, RunFolder
from wsikit.stages.viewer_frame import Origin, stored_corner
from wsikit.store.store import Store
from wsikit.training.metrics.patch_truth import ScoredPatches, pooled_auc
from wsikit.types import Size

__all__ = [
    "POSITIVE_SHARE",
    "KnownSlide",
    "KnownSlides",
    "TruthRule",
    "held_out_patch_auc",
    "known_slides",
    "read_mask",
    "shown_class",
]

POSITIVE_SHARE = 0.5
"""A patch is positive where at least this share of it is inside a known region."""

ATTENTION = "attention times the slide's patches (1: as much as the average patch)"


@dataclass(frozen=True)
class TruthRule:
    """What is held against what.

    Attributes:
        folder: where masks and files of drawn areas lie; see `known_regions`.
        regions: only drawn areas of these classes; none named: all, if they are of one class.
        least: a patch is positive where at least this share of it is inside, above 0 up to 1.
        shows: the run's class that the regions show; None: the positive one of two.
        column: which patch score: `score`, or `attention`.
        origin: where the program that areas were drawn in counts from; see `viewer_frame`.
    """

    folder: Path
    regions: tuple[str, ...] = ()
    least: float = POSITIVE_SHARE
    shows: str | None = None
    column: str = "score"
    origin: Origin = "qupath"


@dataclass(frozen=True)
class KnownSlide:
    """A slide whose patches are scored and whose regions are known.

    Attributes:
        patches: scores and truth.
        rowcol: (N, 2) int64, the patches' places in the grid.
        lesions: for each connected region, (N,) bool: the patches that overlap it.
        meaning: what a patch score says, in words.
        kind: `probability` or `attention`.
    """

    patches: ScoredPatches
    rowcol: NDArray[np.int64]
    lesions: tuple[NDArray[np.bool_], ...]
    meaning: str
    kind: str


@dataclass
class KnownSlides:
    """The slides that can be held against their truth, and the others with a reason.

    Attributes:
        slides: those that can.
        left_out: slide id -> why it cannot.
        without_file: slides of other classes that have no file, taken to be without a region.
    """

    slides: list[KnownSlide] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    without_file: list[str] = field(default_factory=list)


def shown_class(rule: TruthRule, facts: RunFacts) -> str:
    """Return the class that the regions show.

    Raises:
        ConfigError: the run has no such class.
        UsageError: there are more than two, and none was named.
    """
    classes = facts.classes
    if rule.shows is None and len(classes) > 2:
        raise UsageError(
            f"the run tells {', '.join(classes)} apart",
            "say with --truth-class which of them the known regions show",
        )
    if rule.shows is not None and rule.shows not in classes:
        raise ConfigError(f"--truth-class {rule.shows}", nearest(rule.shows, classes))
    return rule.shows or classes[-1]


def known_slides(
    rows: pd.DataFrame, store: Store, run: RunFolder, facts: RunFacts, rule: TruthRule
) -> KnownSlides:
    """Read patch scores and truth of some slides.

    A slide of the shown class without a file is left out: its regions are unknown. One of another
    class is taken to have none, as in cohorts where only tumours are drawn.

    Args:
        rows: of predictions.csv, with `fingerprint`.
        store: the slides' store.
        run: a run whose patches are predicted.
        facts: what is known of it.
        rule: what is held against what.

    Raises:
        StoreError: a slide is of another file than the run's, a mask is not readable.
        SlideError: a file of drawn areas is not usable.
        UsageError: the folder is not there, or the shown class is not clear.
    """
    if not rule.folder.is_dir():
        raise UsageError(f"--truth {rule.folder}: there is no such folder", "check the path")
    shows, found = shown_class(rule, facts), KnownSlides()
    for row in _rows(rows):
        file = region_file(rule.folder, row.slide_id)
        table = run.patch_table(row.slide_id)
        if not table.exists():
            found.left_out[row.slide_id] = "its patches have no scores"
        elif file is None and row.label == shows:
            found.left_out[row.slide_id] = f"no file of known regions, though it is '{shows}'"
        else:
            if file is None:
                found.without_file.append(row.slide_id)
            found.slides.append(_known_slide(row, file, read_patches(table), store, rule, shows))
    return found


@dataclass(frozen=True)
class _Row:
    slide_id: str
    patient_id: str
    label: str
    fingerprint: str


def _rows(rows: pd.DataFrame) -> Iterable[_Row]:
    for row in rows.to_dict("records"):
        yield _Row(*(str(row[n]) for n in ("slide_id", "patient_id", "label", "fingerprint")))


def _known_slide(
    row: _Row, file: Path | None, table: pd.DataFrame, store: Store, rule: TruthRule, shows: str
) -> KnownSlide:
    slide = store.slide(row.slide_id)
    if source_fingerprint(store, row.slide_id) != row.fingerprint:
        raise StoreError(
            f"{store.path}: slide '{row.slide_id}' is made of another file than the run's",
            "name the store that the run was trained on",
        )
    side = Size(int(table["width"].iloc[0]), int(table["height"].iloc[0])) if len(table) else (1, 1)
    patches = Patches(table[["x", "y"]].to_numpy(np.int64), Size(*side), slide.grid)
    corner = stored_corner(slide, rule.origin)
    truth = known_regions(file, patches, rule.regions, corner) if file else no_regions(patches)
    return _join(row, table, patches, truth, rule, shows)


def _join(
    row: _Row,
    table: pd.DataFrame,
    patches: Patches,
    truth: KnownRegions,
    rule: TruthRule,
    shows: str,
) -> KnownSlide:
    scores, meaning, kind = _scores(table, rule.column, shows)
    scored = ScoredPatches(row.slide_id, row.patient_id, scores, truth.share)
    return KnownSlide(scored, patches.rowcol, truth.lesions, meaning, kind)


def _scores(table: pd.DataFrame, column: str, shows: str) -> tuple[NDArray[np.float64], str, str]:
    """Choose the patch score: the shown class's probability, or attention where that is all."""
    probability = f"prob_{shows}"
    if column == "score" and probability in table:
        return table[probability].to_numpy(np.float64), f"probability of {shows}", "probability"
    if column == "score" and table.attrs.get("kind") != "attention":
        meaning = str(table.attrs.get("score", f"probability of {shows}"))
        return table["score"].to_numpy(np.float64), meaning, "probability"
    name = "attention" if "attention" in table else column
    if name not in table:
        raise StoreError(f"the run's method gives no '{column}'", "leave --score away")
    # Attention sums to one over a slide, so it is small where there are many patches.
    return table[name].to_numpy(np.float64) * len(table), ATTENTION, "attention"


def held_out_patch_auc(store: Store, run: RunFolder, truth: Path) -> float | None:
    """Measure how well patch scores find the known regions of held-out slides.

    Patches of all held-out slides are pooled. A patch is positive if at least `POSITIVE_SHARE` of
    it is inside and negative if none of it is; what lies between is left out.

    Args:
        store: the slides' store.
        run: a run whose patches are predicted.
        truth: folder of `<slide_id>_mask.png` or `<slide_id>.geojson`.

    Returns:
        The area under the ROC curve, or None where only one kind of patch occurs.
    """
    predictions = run.predictions()
    held_out = predictions[predictions["split"] == "test"]
    prints = {i: source_fingerprint(store, i) for i in held_out["slide_id"]}
    rows = held_out.assign(fingerprint=held_out["slide_id"].map(prints))
    found = known_slides(rows, store, run, run.facts(), TruthRule(truth))
    slides = [known.patches for known in found.slides]
    return pooled_auc(slides, POSITIVE_SHARE, borders=False, bootstrap=0, seed=0).value
