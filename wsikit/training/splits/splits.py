"""Split a cohort into train, validation and test, by patient.

A test fold chooses nothing: the best epoch is chosen on a validation part cut out of each fold's
training patients. Both cuts are stratified by label and never divide a patient; the outer one,
where the cohort names sites, no site either.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from wsikit.errors import CohortError, ConfigError
from wsikit.training.splits.audit import as_words, audit_splits
from wsikit.training.splits.own_split import blank, fold_column, has_own, split_column
from wsikit.training.splits.site_folds import deal_sites, site_groups

ATTEMPTS = 100
"""Seeds tried before a cohort is said to have no split with every class on every side."""

_REQUIRED = ("slide_id", "patient_id", "label")

Rows = NDArray[np.intp]

SitePreserved = Literal["auto", True, False]


class Cut(NamedTuple):
    """Row numbers of a table, cut in two: the larger part kept and the part set aside."""

    kept: Rows
    aside: Rows


def make_splits(
    table: pd.DataFrame,
    folds: int,
    seed: int,
    val_share: float = 0.2,
    test_share: float = 0.25,
    site_preserved: SitePreserved = "auto",
    say: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Assign every slide a side in every fold.

    With two folds or more, each slide is in the test part of exactly one fold. With one fold the
    cohort is cut once. A cohort's own `split` or `fold` column is used as it stands. The answer
    depends on the slides, not on the order of the table's rows.

    Args:
        table: one row a slide: `slide_id`, `patient_id`, `label`; optional `split` with the words
            train, val, test on every row; or `fold` with the fold that tests each slide; `site`;
            and `fingerprint`, by which the same picture under two names is found. A column that is
            blank throughout counts as absent.
        folds: how many outer folds, at least 1; 1 where the table has its own split, and their
            number where it has its own folds.
        seed: the same seed and slides give the same split.
        val_share: the share of a fold's training patients that validates, in (0, 0.5]; rounded to
            one part in a whole number.
        test_share: the share of patients that tests when `folds` is 1, in (0, 0.5]; rounded
            likewise, where sites are not kept apart.
        site_preserved: whether all slides of a site are in test, or none (Howard et al. 2021);
            `auto`: where the table has sites and it can be done.
        say: told, with `auto`, what was decided.

    Returns:
        Columns `fold` (int, from 0), `slide_id`, `split`; sorted by fold and slide_id.

    Raises:
        CohortError: the table cannot be split so; the message names the class, patient or slide.
        ConfigError: `folds` or a share is out of range.
    """
    _check_options(folds, seed, val_share, test_share)
    _check_table(table)
    table = as_words(table).sort_values("slide_id", ignore_index=True)
    if has_own(table, "split"):
        splits = split_column(table, folds)
        audit_splits(splits, table, sites_apart=site_preserved is True)
        return splits
    if has_own(table, "fold"):
        cuts, by_site = _own_cuts(table, folds), site_preserved is True
    else:
        _check_classes(table, folds)
        cuts, by_site = _new_cuts(table, folds, seed, test_share, site_preserved, say)
    splits = pd.concat(
        [_one_fold(table, fold, cut, seed, val_share) for fold, cut in enumerate(cuts)],
        ignore_index=True,
    )
    audit_splits(splits, table, sites_apart=by_site)
    return splits


def _own_cuts(table: pd.DataFrame, folds: int) -> list[Cut]:
    fold = fold_column(table, folds).to_numpy()
    cuts = [Cut(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(folds)]
    for k, cut in enumerate(cuts):
        left = table.iloc[cut.kept].groupby("label")["patient_id"].nunique()
        for label in sorted(set(table["label"])):
            if left.get(label, 0) < 2:
                raise CohortError(
                    f"class '{label}' has {left.get(label, 0)} patients outside fold {k} of the "
                    "cohort's 'fold' column, and training and validation need one each",
                    "move some of its patients to other folds",
                )
    return cuts


def _new_cuts(
    table: pd.DataFrame,
    folds: int,
    seed: int,
    test_share: float,
    site_preserved: SitePreserved,
    say: Callable[[str], None],
) -> tuple[list[Cut], bool]:
    """Cut by site where that is wanted and can be done; tell whether it was."""
    if site_preserved is True and not has_own(table, "site"):
        raise CohortError(
            "train.site_preserved is true, and the cohort has no 'site' column", "add it"
        )
    if site_preserved is not False and has_own(table, "site"):
        try:
            cuts = _site_cuts(table, folds, seed, test_share)
        except CohortError as error:
            if site_preserved is True:
                raise
            say(f"sites are not kept apart, patients are: {error.what}")
        else:
            say("sites are kept apart: none is in test and in training too")
            return cuts, True
    return _outer_cuts(table, folds, seed, test_share), False


def _site_cuts(table: pd.DataFrame, folds: int, seed: int, test_share: float) -> list[Cut]:
    groups = site_groups(table)
    state = next(_seeds(_stream(seed, 0)))
    if folds == 1:
        part = deal_sites(groups, [test_share, 1 - test_share], [True, False], state)
    else:
        part = deal_sites(groups, [1 / folds] * folds, [True] * folds, state)
    return [Cut(np.flatnonzero(part != k), np.flatnonzero(part == k)) for k in range(folds)]


def _check_options(folds: int, seed: int, val_share: float, test_share: float) -> None:
    if folds < 1:
        raise ConfigError(f"folds is {folds}", "use 1 or more")
    if seed < 0:
        raise ConfigError(f"seed is {seed}", "use 0 or more")
    for name, share in (("val_share", val_share), ("test_share", test_share)):
        if not 0 < share <= 0.5:
            raise ConfigError(f"{name} is {share}", "use a share above 0 and up to 0.5")


def _check_table(table: pd.DataFrame) -> None:
    for column in _REQUIRED:
        if column not in table:
            raise CohortError(f"the cohort has no column '{column}'", "add it")
        empty = table.loc[blank(table[column]), "slide_id"]
        if len(empty):
            raise CohortError(
                f"slide '{empty.iloc[0]}' has no {column}", "fill it in, or leave the slide out"
            )
    if table.empty:
        raise CohortError("the cohort has no labelled slide", "label at least three per class")
    twice = table.loc[table["slide_id"].duplicated(), "slide_id"]
    if len(twice):
        raise CohortError(f"slide '{twice.iloc[0]}' is listed twice", "give each slide one row")
    if table["label"].nunique() < 2:
        raise CohortError(
            f"every slide is of class '{table['label'].iloc[0]}'", "label at least two classes"
        )


def _check_classes(table: pd.DataFrame, folds: int) -> None:
    """Refuse a class with too few patients to stand in test, in validation and in train."""
    # Two folds leave half of a class for training and validation, so one patient each needs four.
    needed = 4 if folds == 2 else max(folds, 3)
    patients = table.groupby("label", sort=True)["patient_id"].nunique()
    label, count = patients.idxmin(), int(patients.min())
    if count >= needed:
        return
    many = f"{count} patient{'' if count == 1 else 's'}"
    what = f"class '{label}' has {many}, and folds={folds} needs {needed}"
    if count < 3:
        raise CohortError(what, "label more patients of it, or leave the class out")
    raise CohortError(what, f"use --folds {1 if count == 3 and folds == 2 else count} or fewer")


def _outer_cuts(table: pd.DataFrame, folds: int, seed: int, test_share: float) -> list[Cut]:
    if folds == 1:
        return [_cut_share(table, test_share, _stream(seed, 0), left=2)]
    for state in _seeds(_stream(seed, 0)):
        cuts = list(_fold_cuts(table, folds, state))
        if all(_is_usable(table, cut, left=2) for cut in cuts):
            return cuts
    raise _no_cut(f"{folds} folds")


def _one_fold(
    table: pd.DataFrame, fold: int, outer: Cut, seed: int, val_share: float
) -> pd.DataFrame:
    inner = _cut_share(table.iloc[outer.kept], val_share, _stream(seed, 1 + fold), left=1)
    split = np.full(len(table), "test", dtype=object)
    split[outer.kept[inner.kept]] = "train"
    split[outer.kept[inner.aside]] = "val"
    return pd.DataFrame({"fold": fold, "slide_id": table["slide_id"], "split": split})


def _cut_share(table: pd.DataFrame, share: float, stream: np.random.SeedSequence, left: int) -> Cut:
    """Set about `share` of the patients aside, and keep `left` of each class or more."""
    most = int(table.groupby("label")["patient_id"].nunique().max())
    # More parts than any class has patients is an error in scikit-learn.
    parts = max(2, min(round(1 / share), most))
    for state in _seeds(stream):
        for cut in _fold_cuts(table, parts, state):
            if _is_usable(table, cut, left):
                return cut
    raise _no_cut("a split")


def _fold_cuts(table: pd.DataFrame, parts: int, state: int) -> Iterator[Cut]:
    """Cut the patients into parts; each part in turn is set aside.

    What is stratified is patients, one row for each label a patient has. Stratifying slides would
    let one patient with many slides fill a fold's share of a class alone, and scikit-learn orders
    groups by size, so that another seed would not help.
    """
    pairs = table[["patient_id", "label"]].drop_duplicates()
    folder = StratifiedGroupKFold(n_splits=parts, shuffle=True, random_state=state)
    with warnings.catch_warnings():
        # A class with fewer patients than parts is expected here; _is_usable judges the cut.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        found = list(folder.split(pairs, pairs["label"], pairs["patient_id"]))
    for _, rows in found:
        aside = table["patient_id"].isin(pairs["patient_id"].iloc[rows]).to_numpy()
        yield Cut(np.flatnonzero(~aside), np.flatnonzero(aside))


def _is_usable(table: pd.DataFrame, cut: Cut, left: int) -> bool:
    """Tell whether every class keeps `left` patients and has one set aside."""
    classes = table["label"].nunique()
    kept, aside = (table.iloc[rows].groupby("label")["patient_id"].nunique() for rows in cut)
    return len(kept) == len(aside) == classes and int(kept.min()) >= left


def _stream(seed: int, part: int) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, part])


def _seeds(stream: np.random.SeedSequence) -> Iterator[int]:
    return (int(word) for word in stream.generate_state(ATTEMPTS))


def _no_cut(what: str) -> CohortError:
    return CohortError(
        f"no {ATTEMPTS} tries gave {what} with every class on every side",
        "use fewer folds, label more patients, or give the cohort a 'split' column",
    )
