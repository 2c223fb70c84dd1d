"""Join a cohort's labels with what the store holds, losing no slide silently."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from wsikit.errors import CohortError, WsikitError
from wsikit.stages.cohort import read_cohort, require_column
from wsikit.store.store import Store

NO_TISSUE = "no tissue was found in it"


@dataclass(frozen=True)
class Labelled:
    """The slides that can take part in a training.

    Attributes:
        table: one row a slide: slide_id, patient_id, label, fingerprint, and split where given.
        unusable: labelled slides that cannot take part -> why; these count as failed.
        unlabelled: slides without a label -> why; these are only mentioned.
    """

    table: pd.DataFrame
    unusable: dict[str, str]
    unlabelled: dict[str, str]


def join_labels(store: Store, labels: Path, missing: Callable[[str], str | None]) -> Labelled:
    """Find the labelled slides that are ready.

    Args:
        store: an open store.
        labels: the cohort CSV, with a `label` column.
        missing: tells what a tiled slide still lacks, or None.

    Raises:
        CohortError: the CSV is wrong, or no labelled slide is ready.
    """
    cohort = read_cohort(labels)
    require_column(cohort, "label", labels)
    tiled = set(store.slide_ids())
    unusable: dict[str, str] = {}
    unlabelled: dict[str, str] = {}
    for slide_id, label in zip(cohort["slide_id"], cohort["label"], strict=True):
        if not label:
            unlabelled[slide_id] = f"no label in {labels.name}"
        elif slide_id not in tiled:
            unusable[slide_id] = _why_absent(store, slide_id)
        elif lacks := _lacks(slide_id, missing):
            unusable[slide_id] = lacks
    listed = set(cohort["slide_id"])
    unlabelled |= {i: f"in the store but not in {labels.name}" for i in sorted(tiled - listed)}
    out = set(unusable) | set(unlabelled)
    table = cohort[~cohort["slide_id"].isin(out)].reset_index(drop=True)
    if table.empty:
        slide_id, reason = next(iter((unusable | unlabelled).items()))
        raise CohortError(
            f"{labels}: none of its {len(cohort)} slides can be used ({slide_id}: {reason})",
            "check that slide ids match (wsikit status STORE lists them)",
        )
    table["fingerprint"] = [source_fingerprint(store, i) for i in table["slide_id"]]
    return Labelled(table, unusable, unlabelled)


def _lacks(slide_id: str, missing: Callable[[str], str | None]) -> str | None:
    try:
        return missing(slide_id)
    except WsikitError as error:
        return str(error)


def _why_absent(store: Store, slide_id: str) -> str:
    first = {s.partition(".")[0]: outcome for s, outcome in store.status(slide_id).items()}
    for stage in ("tile", "ingest"):
        if stage in first and first[stage].state == "empty":
            return NO_TISSUE
        if stage in first:
            return f"failed at {stage}: {first[stage].reason}"
    return "labelled, but not in the store: tile it, or take its row out"


def source_fingerprint(store: Store, slide_id: str) -> str:
    """Return the fingerprint of the file a tiled slide was made from."""
    return str(store.slide(slide_id).recipe["source"])
