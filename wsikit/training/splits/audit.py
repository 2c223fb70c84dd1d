"""See that nothing leaks: no patient, picture, site or look-alike on two sides of a fold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from wsikit.errors import CohortError

ALIKE_SHOWN = 3
"""Pairs of look-alikes that an error names."""

_TEXT = ("slide_id", "patient_id", "label", "site", "fold")


class Alike(NamedTuple):
    """Two slides that look like one.

    Attributes:
        one: a slide id.
        other: another.
        likeness: how much they look alike, up to 1.
    """

    one: str
    other: str
    likeness: float


def as_words(table: pd.DataFrame) -> pd.DataFrame:
    """Read ids and labels as text, so that patient 7 and patient "7" are one."""
    return table.astype({name: str for name in _TEXT if name in table})


def audit_splits(splits: pd.DataFrame, table: pd.DataFrame, sites_apart: bool = False) -> None:
    """Check that no patient and no picture stands on two sides of a fold.

    Args:
        splits: columns `fold`, `slide_id`, `split`.
        table: `slide_id`, `patient_id`, and optionally `fingerprint`, the same for two slides
            only if they are the same picture, and `site`.
        sites_apart: whether a site that is in test may be nowhere else either.

    Raises:
        CohortError: a slide is unknown, or a patient, fingerprint or site stands on two sides.
    """
    merged = splits.astype({"slide_id": str}).merge(
        as_words(table.drop(columns=["fold", "split"], errors="ignore")),
        on="slide_id", how="left", indicator=True,
    )  # fmt: skip
    unknown = merged.loc[merged["_merge"] != "both", "slide_id"]
    if len(unknown):
        raise CohortError(
            f"slide '{unknown.iloc[0]}' is in the split but not in the cohort",
            "make the split again from this cohort",
        )
    _check_one_side(merged, "patient_id")
    if "fingerprint" in merged:
        _check_one_side(merged.dropna(subset=["fingerprint"]), "fingerprint")
    if sites_apart:
        held_out = merged["split"].where(merged["split"] == "test", "train or val")
        _check_one_side(merged.assign(split=held_out), "site")


def audit_alike(splits: pd.DataFrame, alike: Sequence[Alike]) -> None:
    """Check that no two slides that look like one stand on two sides of a fold.

    Args:
        splits: columns `fold`, `slide_id`, `split`.
        alike: the pairs; slides that are not in the split are passed over.

    Raises:
        CohortError: two of them stand on two sides; the message names them.
    """
    found = alike_apart(splits, alike)
    if not found:
        return
    pairs = ", ".join(f"'{p.one}' and '{p.other}'" for p, _ in found[:ALIKE_SHOWN])
    more = f" and {len(found) - ALIKE_SHOWN} more pairs" if len(found) > ALIKE_SHOWN else ""
    pair, where = found[0]
    raise CohortError(
        f"slides {pairs}{more} look like copies of one another (likeness {pair.likeness:.2f}), and "
        f"stand on two sides ({where})",
        "give both one patient_id, or leave one out; if they are two slides, "
        "--set train.near_duplicates=allow",
    )


def alike_apart(splits: pd.DataFrame, alike: Sequence[Alike]) -> list[tuple[Alike, str]]:
    """Return the pairs that stand on two sides of a fold, each with the first place where."""
    sides = splits.pivot(index="slide_id", columns="fold", values="split")
    found = []
    for pair in alike:
        if pair.one not in sides.index or pair.other not in sides.index:
            continue
        one, other = sides.loc[pair.one], sides.loc[pair.other]
        apart = one.index[(one != other).to_numpy()]
        if len(apart):
            fold = apart[0]
            found.append((pair, f"{one[fold]} and {other[fold]} of fold {fold}"))
    return found


_FIXES = {
    "patient_id": "put all slides of a patient on one side",
    "fingerprint": "give both slides one patient_id, or leave one out",
    "site": "make the split again, or --set train.site_preserved=false",
}


def _check_one_side(merged: pd.DataFrame, column: str) -> None:
    for _, group in merged.groupby(["fold", column], sort=True):
        if group["split"].nunique() == 1:
            continue
        one = group.iloc[0]
        other = group[group["split"] != one["split"]].iloc[0]
        where = (
            f"slide '{one['slide_id']}' is in {one['split']} and slide '{other['slide_id']}' in "
            f"{other['split']} of fold {one['fold']}"
        )
        what = {
            "patient_id": f"patient '{one[column]}' stands on two sides",
            "fingerprint": "the same picture stands on two sides",
            "site": f"site '{one[column]}' stands on two sides",
        }[column]
        raise CohortError(f"{what}: {where}", _FIXES[column])
