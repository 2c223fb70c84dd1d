from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from wsikit.errors import CohortError, ConfigError
from wsikit.training.splits.audit import audit_splits
from wsikit.training.splits.splits import make_splits


def cohort(patients: int = 40, most: int = 4, classes: int = 2, seed: int = 0) -> pd.DataFrame:
    """One to `most` slides a patient, labels in the shares 1 : 2 : ..."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        label = f"c{rng.choice(classes, p=np.arange(1, classes + 1) / sum(range(classes + 1)))}"
        for _ in range(rng.integers(1, most + 1)):
            rows.append({"slide_id": f"s{len(rows):03}", "patient_id": f"p{patient}"})
            rows[-1]["label"] = label
    return pd.DataFrame(rows)


def small(**counts: int) -> pd.DataFrame:
    """One slide a patient, so many patients a class."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    ids = [f"s{n}" for n in range(len(labels))]
    return pd.DataFrame({"slide_id": ids, "patient_id": ids, "label": labels})


def sides(splits: pd.DataFrame, table: pd.DataFrame, fold: int) -> dict[str, pd.DataFrame]:
    merged = splits[splits["fold"] == fold].merge(table, on="slide_id")
    return dict(tuple(merged.groupby("split_x" if "split_x" in merged else "split")))


@pytest.mark.parametrize("folds", [1, 2, 3, 5])
@pytest.mark.parametrize("classes", [2, 3])
def test_no_patient_straddles_and_every_class_is_everywhere(folds, classes):
    table = cohort(60, classes=classes)
    splits = make_splits(table, folds, seed=3)
    assert list(splits.columns) == ["fold", "slide_id", "split"]
    for fold in range(folds):
        parts = sides(splits, table, fold)
        assert set(parts) == {"train", "val", "test"}
        assert sum(map(len, parts.values())) == len(table)
        patients = [set(part["patient_id"]) for part in parts.values()]
        assert sum(map(len, patients)) == len(set.union(*patients)) == 60
        for part in parts.values():
            assert part["label"].nunique() == classes


def test_each_slide_is_tested_exactly_once():
    table = cohort()
    splits = make_splits(table, 4, seed=0)
    tested = splits.loc[splits["split"] == "test", "slide_id"]
    assert sorted(tested) == sorted(table["slide_id"])


def test_shares_and_label_shares_are_about_as_asked():
    table = cohort(400, most=2)
    splits = make_splits(table, 1, seed=1)
    share = splits["split"].value_counts(normalize=True)
    assert share["test"] == pytest.approx(0.25, abs=0.03)
    assert share["val"] == pytest.approx(0.75 * 0.2, abs=0.03)
    prevalence = (table["label"] == "c1").mean()
    for part in sides(splits, table, 0).values():
        assert (part["label"] == "c1").mean() == pytest.approx(prevalence, abs=0.05)


def test_seed_decides_and_row_order_does_not():
    table = cohort()
    one = make_splits(table, 3, seed=7)
    shuffled = table.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(one, make_splits(shuffled, 3, seed=7))
    assert not one.equals(make_splits(table, 3, seed=8))


@pytest.mark.parametrize(
    ("folds", "counts"),
    [(1, {"a": 3, "b": 3}), (1, {"a": 100, "b": 3}), (2, {"a": 4, "b": 50}), (5, {"a": 5, "b": 5})],
)
def test_the_fewest_patients_allowed_do_suffice(folds, counts):
    table = small(**counts)
    for seed in range(5):
        splits = make_splits(table, folds, seed=seed)
        for fold in range(folds):
            for part in sides(splits, table, fold).values():
                assert set(part["label"]) == set(counts)


def test_a_rare_class_does_not_swell_validation():
    splits = make_splits(small(a=100, b=3), 1, seed=0)
    assert (splits["split"] == "val").sum() < 25


def test_labels_may_mix_within_a_patient():
    table = cohort(30)
    table["label"] = [f"c{n % 2}" for n in range(len(table))]
    splits = make_splits(table, 3, seed=0)
    audit_splits(splits, table)


@pytest.mark.parametrize(
    ("folds", "counts", "message"),
    [
        (5, {"a": 30, "rare": 4}, r"class 'rare' has 4 patients, and folds=5 needs 5.*--folds 4"),
        (2, {"a": 30, "rare": 3}, r"class 'rare' has 3 patients, and folds=2 needs 4.*--folds 1"),
        (1, {"a": 30, "rare": 1}, r"class 'rare' has 1 patient, and folds=1 needs 3.*label more"),
        (1, {"a": 30}, r"every slide is of class 'a'"),
    ],
)
def test_too_few_patients_of_a_class(folds, counts, message):
    with pytest.raises(CohortError, match=message):
        make_splits(small(**counts), folds, seed=0)


def test_an_impossible_cut_is_an_error_and_not_a_loop():
    # Each class has three patients, but only x has all classes: beside it, one more side fills.
    knot = pd.DataFrame(
        [
            ("1", "x", "a"), ("2", "x", "b"), ("3", "x", "c"),
            ("4", "y", "a"), ("5", "y", "b"), ("6", "z", "b"), ("7", "z", "c"),
            ("8", "w", "c"), ("9", "w", "a"),
        ],
        columns=["slide_id", "patient_id", "label"],
    )  # fmt: skip
    with pytest.raises(CohortError, match="every class on every side"):
        make_splits(knot, 1, seed=0)


def test_one_patient_with_most_slides_of_a_class_is_no_obstacle():
    """Slide counts are lopsided, patients are not: two folds still get two patients a class."""
    table = small(a=20, b=20)
    table["patient_id"] = [f"a{n}" for n in [0] * 17 + [1, 2, 3]] + [f"b{n}" for n in range(20)]
    for seed in range(5):
        splits = make_splits(table, 2, seed=seed)
        for fold in range(2):
            for part in sides(splits, table, fold).values():
                assert set(part["label"]) == {"a", "b"}


def own(split: list[str | None], **change: list[str]) -> pd.DataFrame:
    table = small(a=3, b=3)
    table["split"] = split
    return table.assign(**change)


GOOD = ["train", "val", "test"] * 2


def test_own_split_is_used_as_it_is():
    table = own(GOOD)
    splits = make_splits(table, 1, seed=5)
    assert list(splits["split"]) == GOOD
    assert set(splits["fold"]) == {0}


def test_a_blank_split_column_counts_as_absent():
    blank = make_splits(own([None] * 6), 1, seed=0)
    pd.testing.assert_frame_equal(blank, make_splits(small(a=3, b=3), 1, seed=0))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (own(["train", "valid", "test"] * 2), r"slide 's1': unknown split 'valid'.*mean 'val'"),
        (own([*GOOD[:5], None]), r"slide 's5' has no split"),
        (own([*GOOD[:5], " "]), r"slide 's5' has no split"),
        (own(["val", "val", "test", *GOOD[:3]]), r"class 'a' has no slide in train"),
        (own(["train", "test", "test"] * 2), r"no val slide"),
        (own(GOOD, patient_id=["p", "p", "q", "r", "s", "t"]), r"patient 'p' stands on two sides"),
        (own(GOOD, fingerprint=["f", "g", "h", "i", "j", "f"]), r"'s0' is in train.*'s5' in test"),
    ],
)
def test_own_split_gone_wrong(table, message):
    with pytest.raises(CohortError, match=message):
        make_splits(table, 1, seed=0)


def test_own_split_and_folds_exclude_each_other():
    with pytest.raises(CohortError, match="--folds 1"):
        make_splits(own(GOOD), 3, seed=0)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (small(a=3, b=3).drop(columns="label"), "no column 'label'"),
        (small(a=3, b=3).drop(columns="patient_id"), "no column 'patient_id'"),
        (small(a=3, b=3).assign(label=["a", None, "a", "b", "b", "b"]), "slide 's1' has no label"),
        (small(a=3, b=3).assign(slide_id=["s0", "s1", "s1", "x", "y", "z"]), "'s1' is listed twic"),
        (small(a=3).iloc[:0], "no labelled slide"),
    ],
)
def test_tables_that_cannot_be_read(table, message):
    with pytest.raises(CohortError, match=message):
        make_splits(table, 1, seed=0)


def test_options_out_of_range():
    for change in ({"folds": 0}, {"val_share": 0.0}, {"test_share": 0.7}, {"seed": -1}):
        with pytest.raises(ConfigError):
            make_splits(small(a=9, b=9), **{"folds": 1, "seed": 0, **change})


def test_the_audit_finds_what_a_hand_made_split_leaks():
    table = cohort(12)
    splits = make_splits(table, 2, seed=0)
    audit_splits(splits, table)
    moved = splits.copy()
    patient = table["patient_id"].value_counts().idxmax()
    slide = table.loc[table["patient_id"] == patient, "slide_id"].iloc[0]
    row = moved.index[(moved["fold"] == 1) & (moved["slide_id"] == slide)][0]
    moved.loc[row, "split"] = "val" if moved.loc[row, "split"] != "val" else "train"
    with pytest.raises(CohortError, match=f"patient '{patient}'.*of fold 1"):
        audit_splits(moved, table)
    with pytest.raises(CohortError, match="not in the cohort"):
        audit_splits(splits, table.iloc[1:])
    missing = table.assign(fingerprint=None)
    audit_splits(splits, missing)


def test_own_folds_are_used_as_they_are_and_validation_is_cut_within():
    table = small(a=9, b=9)
    table["fold"] = [["10", "2", "x"][n % 3] for n in range(18)]
    splits = make_splits(table, 3, seed=0)
    for fold, name in enumerate(["2", "10", "x"]):  # numbers as numbers, then words
        of_fold = splits[splits["fold"] == fold].set_index("slide_id")["split"]
        tested = set(of_fold.index[of_fold == "test"])
        assert tested == set(table.loc[table["fold"] == name, "slide_id"])
        val = set(of_fold.index[of_fold == "val"])
        assert set(table.loc[table["slide_id"].isin(val), "label"]) == {"a", "b"}


@pytest.mark.parametrize(
    ("fold", "folds", "message"),
    [
        (["0", "1", "2"] * 2, 1, r"has 3 folds, and folds is 1.*--folds 3"),
        (["0", "1", "2"] * 2, 2, r"--folds 3"),
        (["0", "1", "2", "0", "1", ""], 3, r"slide 's5' has no fold"),
        (["0"] * 6, 1, r"is '0' throughout"),
        (["0", "0", "1", "0", "1", "1"], 2, r"class 'a' has 1 patients outside fold 0"),
    ],
)
def test_own_folds_gone_wrong(fold, folds, message):
    with pytest.raises(CohortError, match=message):
        make_splits(small(a=3, b=3).assign(fold=fold), folds, seed=0)


def test_own_folds_that_part_a_patient():
    table = small(a=6, b=6).assign(fold=["0", "1", "2"] * 4)
    table.loc[:1, "patient_id"] = "p"
    with pytest.raises(CohortError, match="patient 'p' stands on two sides"):
        make_splits(table, 3, seed=0)


def test_a_split_column_goes_before_a_fold_column():
    splits = make_splits(own(GOOD, fold=["0", "1"] * 3), 1, seed=0)
    assert list(splits["split"]) == GOOD
