"""Two runs side by side: which slides are compared, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.stages.made_run import make_run, two_classes
from wsikit.errors import StoreError
from wsikit.stages.evaluation.evaluate import run_evaluate
from wsikit.training.metrics.delong import delong_test


def blurred(slides: pd.DataFrame, seed: int = 1, scale: float = 1.0) -> pd.DataFrame:
    """The same slides, scored worse."""
    p = slides["prob_tumour"].to_numpy()
    x = np.log(p / (1 - p)) + scale * np.random.default_rng(seed).normal(size=len(p))
    worse = 1 / (1 + np.exp(-x))
    return slides.assign(prob_tumour=worse, prob_normal=1 - worse)


def test_differences_and_the_test_of_areas(tmp_path: Path) -> None:
    slides = two_classes(patients=40)
    first = make_run(tmp_path / "one", slides)
    second = make_run(tmp_path / "two", blurred(slides, scale=4))
    both = run_evaluate(first.path, second.path).comparison
    found = json.loads(first.metrics_json.read_text())["comparison"]
    assert (found["first"], found["second"], found["slides"]) == ("one", "two", 40)
    for name, row in found["metrics"].items():
        expected = row["second"]["value"] - row["first"]["value"]
        assert row["difference"]["value"] == pytest.approx(expected), name
    tested = delong_test(
        slides["label"] == "tumour", slides["prob_tumour"], blurred(slides, scale=4)["prob_tumour"]
    )
    assert found["delong"]["p"] == pytest.approx(tested.p, rel=1e-4)
    assert found["trust"] == "delong" == both.trust
    assert found["delong"]["p"] < 0.05
    assert not second.metrics_json.exists()
    page = first.report_html.read_text()
    assert "differ by more than chance would explain (DeLong&#39;s test, p" in page
    assert "ROC of both" in page


def test_runs_of_equal_names_are_told_apart_by_the_folders_they_lie_in(tmp_path: Path) -> None:
    slides = two_classes(patients=12)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    first, second, third = (make_run(tmp_path / n, slides) for n in ("a/run", "b/run", "other"))
    assert run_evaluate(first.path, second.path).comparison.names == ("a/run", "b/run")
    assert run_evaluate(first.path, third.path).comparison.names == ("run", "other")


def test_the_comparison_goes_with_the_call_that_made_it(tmp_path: Path) -> None:
    first = make_run(tmp_path / "one", two_classes())
    second = make_run(tmp_path / "two", blurred(two_classes()))
    run_evaluate(first.path, second.path)
    run_evaluate(first.path)
    assert "comparison" not in json.loads(first.metrics_json.read_text())
    assert "Beside another run" not in first.report_html.read_text()


def test_only_the_same_slides_are_compared(tmp_path: Path) -> None:
    slides = two_classes(patients=20).assign(fingerprint=[f"f{n}" for n in range(20)])
    other = blurred(slides)
    other.loc[3, "fingerprint"] = "another file"
    first = make_run(tmp_path / "one", slides.iloc[:-2])
    second = make_run(tmp_path / "two", other.iloc[1:])
    both = run_evaluate(first.path, second.path).comparison
    assert both.unmatched == {
        "only_first": ["s000"], "only_second": ["s018", "s019"], "other_file": ["s003"],
    }  # fmt: skip
    assert both.slides == 16
    page = first.report_html.read_text()
    assert "held out by this run alone (1)" in page
    assert "<bdi>s018</bdi>, <bdi>s019</bdi>" in page


def test_patients_of_several_slides_speak_against_delong(tmp_path: Path) -> None:
    slides = two_classes(patients=16, slides=4)
    first = make_run(tmp_path / "one", slides)
    second = make_run(tmp_path / "two", blurred(slides))
    both = run_evaluate(first.path, second.path).comparison
    assert (both.slides, both.patients, both.trust) == (64, 16, "bootstrap")
    assert any("takes slides as independent" in note for note in both.notes)
    page = first.report_html.read_text()
    assert "bootstrap over patients)" in page
    assert "for the record: z =" in page


def test_equal_rankings_cannot_be_tested(tmp_path: Path) -> None:
    slides = two_classes()
    first = make_run(tmp_path / "one", slides)
    second = make_run(tmp_path / "two", slides)
    both = run_evaluate(first.path, second.path).comparison
    assert both.delong.p is None
    assert both.trust == "bootstrap"
    assert both.differences["auc"][:3] == (0, 0, 0)
    assert "do not differ demonstrably" in first.report_html.read_text()


def test_several_classes_have_the_bootstrap_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = np.arange(24) % 3

    def slides(order: str) -> pd.DataFrame:
        p = rng.dirichlet(np.ones(3), 24)
        return pd.DataFrame(
            {
                "slide_id": [f"s{n}" for n in range(24)],
                "patient_id": [f"p{n}" for n in range(24)],
                "label": np.array(["a", "b", "c"])[label], "split": "test", "fold": 0,
                **{f"prob_{c}": p[:, k] for k, c in enumerate(order)},
            }
        )  # fmt: skip

    first = make_run(tmp_path / "one", slides("abc"), "abc")
    second = make_run(tmp_path / "two", slides("cab"), "cab")
    both = run_evaluate(first.path, second.path).comparison
    alone = run_evaluate(second.path)
    assert both.delong.reason == "DeLong's test is for two classes"
    assert both.metrics[1]["auc"].value == pytest.approx(alone.pooled["auc"].value)
    assert both.metrics[1]["accuracy"].value == pytest.approx(alone.pooled["accuracy"].value)
    assert both.differences["auc"].low is not None


def test_a_cross_validated_run_and_other_patient_names_are_mentioned(tmp_path: Path) -> None:
    slides = two_classes()
    first = make_run(tmp_path / "one", slides, folds=2)
    second = make_run(tmp_path / "two", blurred(slides).assign(patient_id=slides["slide_id"]))
    notes = " ".join(run_evaluate(first.path, second.path).comparison.notes)
    assert "different folds' models" in notes
    assert "name the patients of some slides differently" in notes


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    slides = two_classes()
    first = make_run(tmp_path / "one", slides).path
    with pytest.raises(StoreError, match="the same run twice"):
        run_evaluate(first, first)
    flipped = make_run(tmp_path / "flipped", slides, ("tumour", "normal")).path
    with pytest.raises(StoreError, match=r"detect different classes \(tumour \| normal\)"):
        run_evaluate(first, flipped)
    renamed = slides.replace("tumour", "cancer").rename(columns={"prob_tumour": "prob_cancer"})
    other = make_run(tmp_path / "other", renamed, ("normal", "cancer")).path
    with pytest.raises(StoreError, match="tell apart different classes"):
        run_evaluate(first, other)
    apart = make_run(tmp_path / "apart", slides.assign(slide_id="x" + slides["slide_id"])).path
    with pytest.raises(StoreError, match="no slide in common"):
        run_evaluate(first, apart)
    relabelled = slides.copy()
    relabelled.loc[0, "label"] = "tumour"
    wrong = make_run(tmp_path / "wrong", relabelled).path
    with pytest.raises(StoreError, match=r"'s000' is 'normal' in .* and 'tumour' in"):
        run_evaluate(first, wrong)
