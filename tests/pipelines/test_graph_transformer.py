"""The recipe of method A, from pictures and labels to the table, on a cohort of textures."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.stages.textured_cohort import SETTINGS, write_cohort
from wsikit.config import load_config
from wsikit.stages.run_folder import RunFolder
from wsikit.store.store import Store

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "pipelines" / "graph_transformer.py"
TILE = [one for one in SETTINGS if one.startswith("tile.")]
HEAD = ["train.epochs=6", "train.lr=2e-3", "train.bootstrap=100", "graph.k=3"]


def run(cohort: Path, out: Path) -> str:
    command = [sys.executable, str(SCRIPT), str(cohort), str(out)]
    command += ["--folds", "3", "--workers", "1", "--device", "cpu"]
    for one in SETTINGS:
        command += ["--encoder-set", one]
    for one in (*TILE, *HEAD):
        command += ["--set", one]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    folder = tmp_path_factory.mktemp("recipe")
    cohort = write_cohort(folder / "slides")
    return cohort, folder / "out", run(cohort, folder / "out")


def test_every_slide_is_held_out_once_and_measured(made):
    cohort, out, printed = made
    known = pd.read_csv(cohort)
    table = pd.read_csv(out / "predictions.csv")
    assert list(table["slide_id"]) == sorted(known["slide_id"])
    # Recounted from the file, without the code that wrote the table.
    truth = table["slide_id"].map(known.set_index("slide_id")["label"])
    accuracy = (table["pred"] == truth).mean()
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["accuracy"]["value"] == pytest.approx(accuracy)
    row = re.search(r"^\| accuracy \| ([\d.]+) \|", printed, re.M)
    assert row is not None
    assert float(row[1]) == pytest.approx(accuracy, abs=5e-4)
    # Fine noise and coarse noise: a method that works tells them apart.
    assert metrics["auc"]["value"] > 0.8


def test_no_fold_has_features_of_an_encoder_that_saw_its_held_out_patients(made):
    _, out, _ = made
    encoders = RunFolder(out / "encoders")
    names = set()
    for fold in range(3):
        run = RunFolder(out / f"fold-{fold}")
        theirs = encoders.splits()
        theirs = theirs[theirs["fold"] == fold].set_index("slide_id")["split"]
        ours = run.splits().set_index("slide_id")["split"]
        assert ours.to_dict() == theirs.to_dict()
        assert set(run.predictions()["slide_id"]) == set(ours.index[ours == "test"])
        names.add(run.facts().encoder_id)
        assert len(list(run.heatmaps.glob("*.png"))) == (ours == "test").sum()
        assert run.report_html.exists()
    assert len(names) == 3
    assert set(Store(out / "store").slide("p0s0").encoder_ids()) == names


def test_run_again_it_changes_nothing(made):
    cohort, out, printed = made
    before = {
        path: path.stat().st_mtime_ns
        for pattern in ("**/*.safetensors", "store/slides/**/*")
        for path in out.glob(pattern)
        if path.is_file()
    }
    assert before
    assert run(cohort, out).splitlines()[-5:] == printed.splitlines()[-5:]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_recipe_says_what_the_source_says():
    config = load_config(ROOT / "configs" / "graph_transformer.yaml")
    assert (config.tile.size, config.tile.rgb.threshold, config.tile.rgb.window) == (512, 200, 200)
    assert config.tile.filters == ("rgb",)
    assert config.tile.stain.method == "histogram"
    encoder = load_config(ROOT / "configs" / "am_softmax.yaml")
    assert (encoder.train.patch.encoder, encoder.train.epochs) == ("vgg16", 100)
