"""Write the cohort of an ingested data set: who, which class, and where it all came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from wsikit.atomic import write_json
from wsikit.stages.ingest.collection import DataSet, LeftOut, Source
from wsikit.stages.run_folder import write_table

FIRST = ("slide_id", "patient_id", "label")


def default_cohort(store: Path) -> Path:
    """Return where the cohort of a store goes: beside it, named after it."""
    return store.with_name(f"{store.name}.cohort.csv")


def write_cohort(
    path: Path, found: DataSet, taken: Sequence[Source], left_out: Sequence[LeftOut]
) -> None:
    """Write the cohort CSV, and a JSON of the same name that says how it came about.

    Args:
        path: the CSV.
        found: the data set.
        taken: the slides that the store holds.
        left_out: what was found and not taken.
    """
    rows = [
        {"slide_id": s.slide_id, "patient_id": s.patient_id, "label": s.label, **s.columns}
        for s in taken
    ]
    more = list(dict.fromkeys(key for row in rows for key in row if key not in FIRST))
    write_table(path, pd.DataFrame(rows, columns=[*FIRST, *more]))
    provenance = {
        "data_set": found.name,
        "recipe": dict(found.recipe),
        "split": found.split or "none: wsikit train splits by patient",
        "slides": len(taken),
        "patients": len({s.patient_id for s in taken}),
        "labels": dict(sorted(Counter(s.label for s in taken).items())),
        "notes": list(found.notes),
        "left_out": [{"name": name, "reason": reason} for name, reason in left_out],
    }
    write_json(path.with_suffix(".json"), provenance)


def warnings_of(taken: Sequence[Source]) -> list[str]:
    """Say what the cohort lacks to be learnt from, a line each."""
    lines = []
    labels = sorted({s.label for s in taken if s.label})
    patients = {s.patient_id for s in taken}
    if len(labels) == 1:
        lines.append(f"every slide is '{labels[0]}': training needs two classes")
    if taken and not labels:
        lines.append("no slide has a label: training needs them")
    if taken and len(patients) < 2:
        lines.append("all slides are of one patient: training needs two or more")
    return lines
