"""Sites kept apart: against all deals there are, and against what must never happen."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from wsikit.errors import CohortError
from wsikit.training.splits.audit import audit_splits
from wsikit.training.splits.site_folds import deal_sites, site_groups
from wsikit.training.splits.splits import make_splits


def cohort(sites: int = 9, seed: int = 0, most: int = 14) -> pd.DataFrame:
    """Sites of very different size and prevalence, one to three slides a patient."""
    rng = np.random.default_rng(seed)
    rows = []
    for site in range(sites):
        prevalence = rng.uniform(0.2, 0.8)
        for patient in range(rng.integers(4, most)):
            label = "ab"[int(rng.random() < prevalence)]
            for _ in range(rng.integers(1, 4)):
                rows.append((f"s{len(rows):03}", f"h{site}-{patient}", label, f"h{site}"))
    return pd.DataFrame(rows, columns=["slide_id", "patient_id", "label", "site"])


def patients(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop_duplicates(["patient_id", "label"])


@pytest.mark.parametrize("folds", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_no_site_is_in_test_and_elsewhere(folds: int, seed: int) -> None:
    table, said = cohort(seed=seed), []
    splits = make_splits(table, folds, seed, say=said.append)
    assert said == ["sites are kept apart: none is in test and in training too"]
    audit_splits(splits, table, sites_apart=True)
    merged = splits.merge(table, on="slide_id")
    for _, part in merged.groupby("fold"):
        held_out = set(part.loc[part["split"] == "test", "site"])
        assert not held_out & set(part.loc[part["split"] != "test", "site"])
        for _, side in part.groupby("split"):
            assert set(side["label"]) == {"a", "b"}
        assert (part.groupby("patient_id")["split"].nunique() == 1).all()
    if folds > 1:
        tested = merged.loc[merged["split"] == "test", "slide_id"]
        assert sorted(tested) == sorted(table["slide_id"])


def unevenness(counts: np.ndarray, part: np.ndarray, shares: np.ndarray) -> float:
    held = np.stack([counts[part == k].sum(axis=0) for k in range(len(shares))])
    if (held == 0).any():
        return np.inf
    return float(np.abs(held / counts.sum(axis=0) - shares[:, None]).max())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("folds", [2, 3])
def test_the_deal_is_about_as_even_as_the_best_of_all(folds: int, seed: int) -> None:
    """Go through every way of dealing seven sites out to folds."""
    table = cohort(sites=7, seed=seed)
    groups = site_groups(table)
    shares = np.full(folds, 1 / folds)
    part = deal_sites(groups, shares.tolist(), [True] * folds, seed)
    by_group = pd.Series(part).groupby(groups.group).first().to_numpy()
    found = unevenness(groups.patients, by_group, shares)
    least = min(
        unevenness(groups.patients, np.array(deal), shares)
        for deal in itertools.product(range(folds), repeat=7)
    )
    assert found <= least + 0.02


def test_counts_are_of_patients() -> None:
    table = cohort(sites=4)
    groups = site_groups(table)
    expected = pd.crosstab(patients(table)["site"], patients(table)["label"])
    assert (groups.patients == expected.to_numpy()).all()
    assert groups.sites == 4


def test_sites_that_share_a_patient_stay_together() -> None:
    table = cohort(sites=6, seed=1)
    table.loc[table["site"] == "h1", "patient_id"] = table.loc[
        table["site"] == "h1", "patient_id"
    ].replace({"h1-0": "h4-0"})
    groups = site_groups(table)
    assert len(groups.patients) == 5
    assert groups.sites == 6
    splits = make_splits(table, 3, 0, site_preserved=True).merge(table, on="slide_id")
    for _, part in splits.groupby("fold"):
        test = part[part["split"] == "test"]
        assert len({"h1", "h4"} & set(test["site"])) in (0, 2)


def test_row_order_does_not_decide_and_the_seed_is_honoured() -> None:
    table = cohort()
    one = make_splits(table, 3, seed=4)
    pd.testing.assert_frame_equal(one, make_splits(table.sample(frac=1, random_state=1), 3, seed=4))
    assert any(not one.equals(make_splits(table, 3, seed=s)) for s in range(5))


@pytest.mark.parametrize(
    ("change", "folds", "message"),
    [
        (
            {"sites": 3},
            5,
            r"has 3 sites, and keeping sites apart in folds=5 needs 5: use --folds 3",
        ),
        ({"sites": 1}, 1, r"has 1 site, .* needs 2: --set train.site_preserved=false"),
    ],
)
def test_too_few_sites(change, folds: int, message: str) -> None:
    table, said = cohort(**change), []
    table = pd.concat([table, table.assign(**{  # enough patients, so that only sites are too few
        "slide_id": table["slide_id"] + "x", "patient_id": table["patient_id"] + "x",
    })], ignore_index=True)  # fmt: skip
    with pytest.raises(CohortError, match=message):
        make_splits(table, folds, 0, site_preserved=True)
    splits = make_splits(table, folds, 0, say=said.append)
    assert said[0].startswith("sites are not kept apart, patients are: the cohort has")
    plain = make_splits(table.drop(columns="site"), folds, 0)
    pd.testing.assert_frame_equal(splits, plain)
    pd.testing.assert_frame_equal(splits, make_splits(table, folds, 0, site_preserved=False))


def test_a_class_at_too_few_sites() -> None:
    table = cohort(sites=6, most=30)
    table.loc[table["site"] > "h1", "label"] = "a"
    with pytest.raises(CohortError, match=r"class 'b' occurs at 2 sites, .*needs 3.*--folds 2"):
        make_splits(table, 3, 0, site_preserved=True)


def test_a_slide_without_a_site_and_a_cohort_without_sites() -> None:
    table = cohort()
    table.loc[3, "site"] = ""
    with pytest.raises(CohortError, match="slide 's003' has no site: fill it in"):
        make_splits(table, 2, 0, site_preserved=True)
    with pytest.raises(CohortError, match="no 'site' column"):
        make_splits(table.drop(columns="site"), 2, 0, site_preserved=True)
    with pytest.raises(CohortError, match="no 'site' column"):
        make_splits(table.assign(site=""), 2, 0, site_preserved=True)


def test_the_audit_finds_a_site_on_two_sides() -> None:
    table = cohort()
    by_patient = make_splits(table, 3, 0, site_preserved=False)
    audit_splits(by_patient, table)
    with pytest.raises(CohortError, match=r"site 'h\d' stands on two sides: slide .*false"):
        audit_splits(by_patient, table, sites_apart=True)


def test_an_own_split_is_held_to_sites_only_where_that_is_asked() -> None:
    table = cohort(sites=2).groupby(["site", "label"]).head(3).reset_index(drop=True)
    table["patient_id"] = table["slide_id"]
    table["split"] = (["train", "val", "test"] * len(table))[: len(table)]
    assert len(make_splits(table, 1, 0)) == len(table)
    with pytest.raises(CohortError, match="site"):
        make_splits(table, 1, 0, site_preserved=True)
