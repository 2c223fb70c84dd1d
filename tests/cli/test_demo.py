"""The demo, run once as a newcomer runs it, and held against shuffled labels."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cli.conftest import Wsikit, run_process, tree
from wsikit.config import load_config, packaged_config
from wsikit.stages.evaluation.evaluate import run_evaluate
from wsikit.stages.evaluation.truth import held_out_patch_auc
from wsikit.stages.prediction.predict import run_predict
from wsikit.stages.run_folder import RunFolder
from wsikit.stages.training.train import run_train
from wsikit.store.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timed]

SHUFFLES = 4


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished demo."""
    out = tmp_path_factory.mktemp("demo") / "out"
    answer = run_process("demo", "-o", out)
    assert answer.code == 0, answer.err
    (out / "said.txt").write_text(answer.out)
    return out


def test_it_reaches_its_figures_in_time(demo: Path) -> None:
    found = json.loads((demo / "demo.json").read_text())
    assert found["slide_auc"] >= 0.95
    assert found["patch_auc"] >= 0.85
    assert found["seconds"] <= 300
    stages = ("phantoms", "tile", "extract", "graph", "train", "predict", "heatmap", "report")
    assert set(found["stages"]) == set(stages)
    for name in ("store", "run", "heatmaps", "report"):
        assert Path(found[name]).exists()


def test_it_ends_with_what_a_newcomer_needs(demo: Path) -> None:
    said = (demo / "said.txt").read_text()
    for words in (
        "slide AUC",
        "patch AUC",
        "heatmaps",
        "report.html",
        "wsikit train store --labels",
    ):
        assert words in said


def test_no_patient_stands_on_two_sides_and_every_slide_is_held_out_once(demo: Path) -> None:
    splits = pd.read_csv(demo / "run" / "split.csv")
    sides = splits.groupby(["fold", "patient_id"])["split"].nunique()
    assert (sides == 1).all()
    held_out = splits[splits["split"] == "test"]["slide_id"]
    assert sorted(held_out) == sorted(splits["slide_id"].unique())
    predictions = pd.read_csv(demo / "run" / "predictions.csv")
    assert sorted(predictions["slide_id"]) == sorted(held_out)
    assert (predictions["split"] == "test").all()


def test_every_slide_has_its_files(demo: Path) -> None:
    ids = Store(demo / "store").slide_ids()
    for slide_id in ids:
        assert (demo / "run" / "patches" / f"{slide_id}.parquet").exists()
        assert (demo / "run" / "heatmaps" / f"{slide_id}.png").exists()
        geojson = json.loads((demo / "run" / "heatmaps" / f"{slide_id}.geojson").read_text())
        assert len(geojson["features"]) == len(Store(demo / "store").slide(slide_id).patches)


def test_the_report_stands_alone(demo: Path) -> None:
    class Links(HTMLParser):
        found: list[str]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found += [v for k, v in attrs if k in ("src", "href") and v]

    parser = Links()
    parser.found = []
    html = (demo / "run" / "report.html").read_text()
    parser.feed(html)
    outside = [link for link in parser.found if not link.startswith(("data:", "#", "heatmaps/"))]
    assert outside == []
    assert str(demo) not in html


def test_again_it_is_quick_and_changes_nothing(demo: Path) -> None:
    kept = ("slides", "store/slides", "run/folds", "run/predictions.csv", "run/metrics.json")
    before = {name: content(demo / name) for name in kept}
    found = json.loads((demo / "demo.json").read_text())["seconds"]
    answer = run_process("demo", "-o", demo)
    assert answer.code == 0
    assert {name: content(demo / name) for name in kept} == before
    assert json.loads((demo / "demo.json").read_text())["seconds"] < found / 2


def content(path: Path) -> dict[str, bytes] | bytes:
    return tree(path) if path.is_dir() else path.read_bytes()


def test_shuffled_labels_give_chance(demo: Path, tmp_path: Path) -> None:
    """Labels are dealt anew to patients, evenly within each true class, so they hold no truth.

    One shuffle of 48 slides scatters widely, so the mean over several is judged.
    """
    cohort = pd.read_csv(demo / "slides" / "cohort.csv")
    config = load_config(packaged_config("demo"))
    slide_auc, patch_auc = [], []
    for seed in range(SHUFFLES):
        labels = tmp_path / f"{seed}.csv"
        shuffled = cohort.assign(label=deal_labels(cohort, seed))
        shuffled.to_csv(labels, index=False)
        run = RunFolder(tmp_path / f"run{seed}")
        run_train(demo / "store", labels, run.path, config)
        run_predict(demo / "store", run.path)
        slide_auc.append(run_evaluate(run.path).pooled["auc"].value)
        patch_auc.append(held_out_patch_auc(Store(demo / "store"), run, demo / "slides" / "truth"))
    assert 0.35 <= np.mean(slide_auc) <= 0.65, slide_auc
    assert 0.35 <= np.mean(patch_auc) <= 0.65, patch_auc
    assert max(slide_auc) < 0.95
    assert max(patch_auc) < 0.85


def deal_labels(cohort: pd.DataFrame, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    dealt: dict[str, str] = {}
    for _, patients in cohort.drop_duplicates("patient_id").groupby("label"):
        order = rng.permutation(patients["patient_id"].to_numpy())
        dealt |= {p: ("normal", "tumour")[(n + seed) % 2] for n, p in enumerate(order)}
    return [dealt[p] for p in cohort["patient_id"]]


def test_a_first_look_needs_no_labels(wsikit: Wsikit, real_data: Path, tmp_path: Path) -> None:
    slide = real_data / "slides" / "cmu-1-small-region.svs"
    answer = wsikit("demo", "--slides", slide, "-o", tmp_path / "look", "-j", 1)
    assert answer.code == 0
    pictures = sorted(p.name for p in (tmp_path / "look" / "look").glob("*.png"))
    assert pictures == [f"{slide.stem}_clusters.png", f"{slide.stem}_foreground.png"]
