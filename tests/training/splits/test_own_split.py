"""The split of another run, used again exactly."""

from __future__ import annotations

import pandas as pd
import pytest

from wsikit.errors import CohortError
from wsikit.training.splits.own_split import reused_split
from wsikit.training.splits.splits import make_splits


def cohort(count: int = 24) -> pd.DataFrame:
    ids = [f"s{n:02}" for n in range(count)]
    labels = ["ab"[n % 2] for n in range(count)]
    marks = [f"f{n}" for n in range(count)]
    return pd.DataFrame({"slide_id": ids, "patient_id": ids, "label": labels, "fingerprint": marks})


@pytest.fixture
def given() -> pd.DataFrame:
    table = cohort()
    return make_splits(table, 3, 5).merge(table, on="slide_id").astype(str)


@pytest.mark.parametrize("order", [0, 1])
def test_it_is_the_same_split(given: pd.DataFrame, order: int) -> None:
    shuffled = given.sample(frac=1, random_state=order)
    found = reused_split(shuffled, cohort(), "split.csv")
    pd.testing.assert_frame_equal(found, make_splits(cohort(), 3, 5))


def test_another_question_of_the_same_slides(given: pd.DataFrame) -> None:
    table = cohort().assign(label=["xy"[n // 12] for n in range(24)])
    assert len(reused_split(given, table, "split.csv")) == 72


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (cohort(22), r"split.csv: slides 's22', 's23' of this split cannot take part here"),
        (cohort(14), r"'s14', 's15', 's16', 's17', 's18' and 5 more of this split"),
        (cohort(26), r"slides 's24', 's25' of the cohort have no place in this split"),
        (
            cohort().assign(fingerprint=["other", *cohort()["fingerprint"][1:]]),
            r"slides 's00' are other files",
        ),
        (cohort().assign(label=["rare", *cohort()["label"][1:]]), r"class 'rare' has no slide in"),
    ],
)
def test_a_cohort_that_is_another(given: pd.DataFrame, table: pd.DataFrame, message: str) -> None:
    with pytest.raises(CohortError, match=message):
        reused_split(given, table, "split.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="fold"), "column 'fold' is missing"),
        (lambda t: t.assign(split=t["split"].replace("val", "valid")), "did you mean 'val'"),
        (lambda t: t.assign(fold="one"), "a fold is no number"),
        (lambda t: t[t["fold"] != "1"], "folds are not 0, 1"),
        (lambda t: pd.concat([t, t.head(1)]), "slide 's00' stands twice in fold 0"),
        (lambda t: t.iloc[:-1], "slide 's23' has no side in fold 2"),
        (lambda t: t.assign(split=t["split"].replace("val", "train")), "fold 0 has no val slide"),
    ],
)
def test_a_file_that_is_no_split(given: pd.DataFrame, change, message: str) -> None:
    with pytest.raises(CohortError, match=message):
        reused_split(change(given), cohort(), "split.csv")
