"""Splits that the user brings: a column of the cohort, or the split of an earlier run."""

from __future__ import annotations

import pandas as pd

from wsikit.errors import CohortError, few, nearest

SIDES = ("train", "val", "test")
NAMED = 5
"""Slides that an error names."""


def blank(column: pd.Series) -> pd.Series:
    """Mark the cells that hold nothing."""
    return column.isna() | (column.astype(str).str.strip() == "")


def has_own(table: pd.DataFrame, column: str) -> bool:
    """Tell whether a cohort has a column with anything in it."""
    return column in table and not bool(blank(table[column]).all())


def split_column(table: pd.DataFrame, folds: int) -> pd.DataFrame:
    """Read a cohort's `split` column: train, val or test for every slide.

    Raises:
        CohortError: several folds were asked for, a slide has no side or an unknown one, no slide
            validates, or a class has no slide in train.
    """
    if folds != 1:
        raise CohortError(
            f"the cohort has its own 'split' column, and {folds} folds were asked for",
            "use --folds 1, or remove the column",
        )
    _check_filled(table, "split", "fill in train, val or test for every slide")
    words = table["split"].astype(str).str.strip()
    for slide_id, word in zip(table["slide_id"], words, strict=True):
        if word not in SIDES:
            raise CohortError(f"slide '{slide_id}': unknown split '{word}'", nearest(word, SIDES))
    if not (words == "val").any():
        raise CohortError(
            "the 'split' column has no val slide", "mark some as val: they choose the best epoch"
        )
    splits = pd.DataFrame({"fold": 0, "slide_id": table["slide_id"], "split": words})
    _check_classes(splits, table)
    return splits


def fold_column(table: pd.DataFrame, folds: int) -> pd.Series:
    """Read a cohort's `fold` column: in which fold each slide is tested.

    Any words do; sorted, as numbers where they are numbers, they become folds 0, 1, ...

    Returns:
        (N,) int, the fold of each row.

    Raises:
        CohortError: a slide has none, or another number of folds was asked for.
    """
    _check_filled(table, "fold", "fill in a fold for every slide")
    words = table["fold"].astype(str).str.strip()
    names = sorted(set(words), key=lambda w: (0, float(w), w) if _is_number(w) else (1, 0.0, w))
    if len(names) == 1:
        raise CohortError(
            f"the cohort's 'fold' column is '{names[0]}' throughout", "remove it, or fill it in"
        )
    if len(names) != folds:
        raise CohortError(
            f"the cohort's 'fold' column has {len(names)} folds, and folds is {folds}",
            f"use --folds {len(names)}, or remove the column",
        )
    return words.map({name: number for number, name in enumerate(names)})


def reused_split(given: pd.DataFrame, table: pd.DataFrame, where: str) -> pd.DataFrame:
    """Take over the split of an earlier run, for exactly its slides.

    Args:
        given: columns `fold`, `slide_id`, `split`, all text; optional `fingerprint`.
        table: the cohort: `slide_id`, `label`, and `fingerprint`.
        where: the file, for messages.

    Returns:
        As `make_splits`.

    Raises:
        CohortError: a slide is in one and not in the other, is another file, has no side or two, or
            a class has no slide in train.
    """
    splits = _parsed(given, where)
    cohort, named = set(table["slide_id"]), set(splits["slide_id"])
    if missing := sorted(named - cohort):
        raise CohortError(
            f"{where}: {_list(missing)} of this split cannot take part here",
            "label and extract them, or make a new split without --split",
        )
    if extra := sorted(cohort - named):
        raise CohortError(
            f"{where}: {_list(extra)} of the cohort have no place in this split",
            "take their rows out, or make a new split without --split",
        )
    _check_same_files(given, table, where)
    _check_classes(splits, table)
    return splits.sort_values(["fold", "slide_id"], ignore_index=True)


def _parsed(given: pd.DataFrame, where: str) -> pd.DataFrame:
    for column in ("fold", "slide_id", "split"):
        if column not in given:
            raise CohortError(f"{where}: column '{column}' is missing", "give a run's split.csv")
    splits = given[["fold", "slide_id", "split"]].reset_index(drop=True)
    wrong = sorted(set(splits["split"]) - set(SIDES))
    if wrong:
        raise CohortError(f"{where}: unknown split '{wrong[0]}'", nearest(wrong[0], SIDES))
    try:
        folds = splits["fold"].astype(int)
    except ValueError:
        raise CohortError(f"{where}: a fold is no number", "give a run's split.csv") from None
    splits["fold"] = folds
    found = sorted(set(folds))
    if found != list(range(len(found))):
        raise CohortError(f"{where}: folds are not 0, 1, ... throughout", "give a run's split.csv")
    twice = splits[splits.duplicated(["fold", "slide_id"])]
    if len(twice):
        one = twice.iloc[0]
        raise CohortError(
            f"{where}: slide '{one['slide_id']}' stands twice in fold {one['fold']}", "keep one row"
        )
    for fold, of_fold in splits.groupby("fold"):
        if lacking := set(splits["slide_id"]) - set(of_fold["slide_id"]):
            raise CohortError(
                f"{where}: slide '{min(lacking)}' has no side in fold {fold}", "add its row"
            )
        if absent := [side for side in ("train", "val") if side not in set(of_fold["split"])]:
            raise CohortError(f"{where}: fold {fold} has no {absent[0]} slide", "mark some so")
    return splits


def _check_same_files(given: pd.DataFrame, table: pd.DataFrame, where: str) -> None:
    if "fingerprint" not in given or "fingerprint" not in table:
        return
    then = dict(zip(given["slide_id"], given["fingerprint"], strict=True))
    now = zip(table["slide_id"], table["fingerprint"], strict=True)
    other = sorted(slide_id for slide_id, mark in now if then[slide_id] not in ("", mark))
    if other:
        raise CohortError(
            f"{where}: {_list(other)} are other files than those that were split",
            "make a new split without --split",
        )


def _check_classes(splits: pd.DataFrame, table: pd.DataFrame) -> None:
    labels = splits["slide_id"].map(dict(zip(table["slide_id"], table["label"], strict=True)))
    for fold, of_fold in splits.assign(label=labels).groupby("fold"):
        learnt = set(of_fold.loc[of_fold["split"] == "train", "label"])
        if absent := set(table["label"]) - learnt:
            raise CohortError(
                f"class '{min(absent)}' has no slide in train of fold {fold}",
                "put some of its patients in train",
            )


def _check_filled(table: pd.DataFrame, column: str, fix: str) -> None:
    empty = table.loc[blank(table[column]), "slide_id"]
    if len(empty):
        raise CohortError(f"slide '{empty.iloc[0]}' has no {column}", fix)


def _list(slide_ids: list[str]) -> str:
    return "slides " + few([f"'{slide_id}'" for slide_id in slide_ids], NAMED)


def _is_number(word: str) -> bool:
    return word.removeprefix("-").isdigit()
