"""A run's numbers and page: what they hold, what they say where a number is missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tests.stages.made_run import make_run, two_classes, write_patches
from wsikit.errors import StoreError, UsageError
from wsikit.stages.evaluation.evaluate import run_evaluate
from wsikit.stages.evaluation.truth import TruthRule
from wsikit.training.metrics.metrics import METRICS


def no_constant(text: str) -> None:
    raise AssertionError(f"{text} is no JSON")


def read(path: Path) -> dict:
    return json.loads(path.read_text(), parse_constant=no_constant)


def test_metrics_are_per_fold_and_pooled(tmp_path: Path) -> None:
    slides = two_classes(patients=24, slides=2)
    slides["fold"] = np.repeat(np.arange(24), 2) // 8
    run = make_run(tmp_path / "run", slides, folds=3)
    evaluation = run_evaluate(run.path)
    found = read(run.metrics_json)
    assert found == json.loads(json.dumps(evaluation.to_json()))
    assert set(found["folds"]) == {"0", "1", "2"}
    for numbers in (found["pooled"], *found["folds"].values()):
        assert tuple(numbers) == METRICS
        assert all(set(n) == {"value", "low", "high", "reason"} for n in numbers.values())
    expected = roc_auc_score(slides["label"] == "tumour", slides["prob_tumour"])
    assert found["pooled"]["auc"]["value"] == pytest.approx(expected)
    assert (found["slides"], found["patients"]) == (48, 24)
    assert found["classes"] == {"normal": 24, "tumour": 24}
    assert sum(group["slides"] for group in found["calibration"]) == 48
    assert all(group["patients"] <= group["slides"] for group in found["calibration"])
    page = run.report_html.read_text()
    assert "48 slides of 24 patients: 24 normal, 24 tumour." in page
    assert "Calibration" in page


def test_the_same_call_gives_the_same_bytes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", two_classes())
    run_evaluate(run.path)
    before = run.metrics_json.read_bytes(), run.report_html.read_bytes()
    run_evaluate(run.path)
    assert (run.metrics_json.read_bytes(), run.report_html.read_bytes()) == before
    assert str(tmp_path) not in before[0].decode() + before[1].decode()


def test_a_fold_of_one_class_has_nulls_with_reasons(tmp_path: Path) -> None:
    slides = two_classes(patients=8)
    slides["fold"] = (slides["label"] == "tumour").astype(int)
    run = make_run(tmp_path / "run", slides, folds=2)
    run_evaluate(run.path)
    fold = read(run.metrics_json)["folds"]["0"]
    for name in ("auc", "average_precision", "balanced_accuracy"):
        assert fold[name] == {
            "value": None, "low": None, "high": None, "reason": "needs slides of two classes",
        }  # fmt: skip
    assert fold["sensitivity"]["reason"] == "no positive slide"
    assert fold["specificity"]["value"] is not None
    assert read(run.metrics_json)["pooled"]["auc"]["value"] is not None
    assert "n/a (needs slides of two classes)" in run.report_html.read_text()


def test_several_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = np.arange(30) % 3
    p = rng.dirichlet(np.ones(3), 30) + 0.4 * np.eye(3)[label]
    p /= p.sum(axis=1, keepdims=True)
    slides = pd.DataFrame(
        {
            "slide_id": [f"s{n}" for n in range(30)],
            "patient_id": [f"p{n // 2}" for n in range(30)],
            "label": np.array(["a", "b", "c"])[label], "split": "test", "fold": 0,
            **{f"prob_{c}": p[:, k] for k, c in enumerate("abc")},
        }
    )  # fmt: skip
    run = make_run(tmp_path / "run", slides, "abc")
    evaluation = run_evaluate(run.path)
    assert evaluation.pooled["auc"].value == pytest.approx(
        roc_auc_score(label, p, multi_class="ovr"), abs=1e-6
    )
    assert read(run.metrics_json)["positive"] is None
    page = run.report_html.read_text()
    assert "share that was right" in page
    assert "ROC for" not in page


def test_perfect_figures_are_not_called_certain(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", two_classes(signal=40, noise=0.1))
    assert run_evaluate(run.path).pooled["auc"][:3] == (1, 1, 1)
    assert "up to 3 in n of the others" in run.report_html.read_text()


def test_an_interval_of_few_resamples_says_so(tmp_path: Path) -> None:
    slides = two_classes(patients=8)
    slides["label"] = ["tumour", *["normal"] * 7]
    run = make_run(tmp_path / "run", slides)
    run_evaluate(run.path)
    assert " of 200 resamples; undefined in the others." in run.report_html.read_text()


@pytest.mark.parametrize("method", ["abmil", "am-softmax", "mean_pooling"])
def test_the_page_speaks_of_any_method(tmp_path: Path, method: str) -> None:
    run = make_run(tmp_path / "run", two_classes(), method=method)
    run_evaluate(run.path)
    page = run.report_html.read_text()
    assert f"<dd>{method}: " in page
    assert ("This run trained an encoder" in page) == (method == "am-softmax")
    assert ("encoder at the start" in page) == (method == "am-softmax")


def test_the_page_says_what_a_patch_score_is(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", two_classes())
    run_evaluate(run.path)
    assert "patch score" not in run.report_html.read_text()
    columns = {"score": [0.5, 0.5], "attention": [0.5, 0.5]}
    write_patches(run, "s000", [(0, 0), (32, 0)], (32, 32), columns, {"kind": "attention"})
    run_evaluate(run.path)
    assert "A patch score is attention" in run.report_html.read_text()
    write_patches(run, "s000", [(0, 0), (32, 0)], (32, 32), columns, {"kind": "probability"})
    run_evaluate(run.path)
    assert "gives the patch alone, of being tumour" in run.report_html.read_text()


def test_known_regions_without_a_store(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", two_classes())
    with pytest.raises(UsageError, match="--store"):
        run_evaluate(run.path, truth=TruthRule(tmp_path))


def test_a_run_without_held_out_slides(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", two_classes().assign(split="train"))
    with pytest.raises(StoreError, match="no held-out slide"):
        run_evaluate(run.path)
