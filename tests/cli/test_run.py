"""`wsikit run`: whose split a study takes, and what is said before anything is tiled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.cli.conftest import Wsikit, tree
from tests.stages.model_cohort import save_picture
from tests.stages.textured_cohort import write_cohort
from wsikit.stages.study import study

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = """
output: results
tile: {size: 32, mpp: 1.0, filters: [], min_foreground: 0, stain: {method: none}}
extract: {encoder: "timm:test_resnet", weights: random}
graph: {k: 2}
train: {method: abmil, epochs: 1, bootstrap: 100}
heatmap: {formats: [geojson], cohort: false}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight patients' slides; `cohort.csv` says in which of two folds each is tested."""
    folder = tmp_path_factory.mktemp("study")
    table = pd.read_csv(write_cohort(folder / "pictures", patients=8))
    (folder / "slides").mkdir()
    for name in table["slide"]:
        pixels = np.asarray(Image.open(folder / "pictures" / name))
        save_picture(pixels, folder / "slides" / name.replace(".png", ".tiff"))
    table["slide"] = "slides/" + table["slide"].str.replace(".png", ".tiff")
    numbers = table["patient_id"].str.partition("-")[2].astype(int)
    table["fold"] = (numbers // 2 % 2).map({0: "x", 1: "y"})
    table.to_csv(folder / "cohort.csv", index=False)
    table[["slide_id", "patient_id", "label"]].to_csv(folder / "labels.csv", index=False)
    return folder


def recipe(folder: Path, name: str, *lines: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text("\n".join([*lines, RECIPE]))
    return path


def test_a_users_own_folds_and_a_saved_split_are_used_as_train_uses_them(
    wsikit: Wsikit, folder: Path
) -> None:
    first = recipe(folder, "first", "cohort: cohort.csv")
    answer = wsikit("run", first, "--set", "train.folds=2", "--device", "cpu", "-j", 1)
    assert answer.code == 0, answer.err
    run = folder / "results" / "run"
    splits = pd.read_csv(run / "split.csv", dtype=str)
    tested = splits[splits["split"] == "test"].set_index("slide_id")["fold"]
    given = pd.read_csv(folder / "cohort.csv").set_index("slide_id")["fold"]
    assert tested.to_dict() == given.map({"x": "0", "y": "1"}).to_dict()

    # Slides and labels apart, and the split of the first run, named by the recipe.
    second = recipe(
        folder, "second", "slides: [slides]", "labels: labels.csv", "split: results/run"
    )
    call = ("run", second, "-o", folder / "second", "--device", "cpu", "-j", 1)
    answer = wsikit(*call)
    assert answer.code == 0, answer.err
    again = folder / "second" / "run"
    assert (again / "split.csv").read_bytes() == (run / "split.csv").read_bytes()
    assert "split:" not in (again / "config.yaml").read_text()
    before = tree(again)
    answer = wsikit(*call)
    assert (answer.code, tree(again)) == (0, before), answer.err

    answer = wsikit(
        "train", folder / "second" / "store", "--labels", folder / "labels.csv",
        "--config", second, "--device", "cpu", "-o", folder / "by_train",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    for name in ("split.csv", "folds/1/head.safetensors"):
        assert (folder / "by_train" / name).read_bytes() == (again / name).read_bytes()


@pytest.mark.parametrize(
    ("lines", "more", "message"),
    [
        (["cohort: cohort.csv", "split: nowhere"], (), "nowhere: no split there: name a run"),
        (["slides: [slides]", "split: results/run"], (), "names a split and no labels: add"),
        (["slides: [slides]", "cohort: cohort.csv"], (), "both slides and cohort: keep one"),
        (["slides: [slides]", "labels: none.csv"], (), "none.csv: cannot be read as CSV"),
        (["cohort: cohort.csv"], ("--devices", 2, "--set", "train.method=am-softmax"),
         "'am-softmax' trains on one device"),
        (["cohort: cohort.csv"], ("--split", "cohort.csv", "--set", "train.folds=3"),
         "has 2 folds, and folds is 3"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_anything_is_tiled(
    wsikit: Wsikit,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lines: list[str],
    more: tuple[object, ...],
    message: str,
) -> None:
    monkeypatch.chdir(folder)
    answer = wsikit("run", recipe(folder, "wrong", *lines), "-o", tmp_path / "out", *more)
    assert (answer.code, len(answer.err.splitlines())) == (2, 1), answer.err
    assert message in answer.err
    assert not (tmp_path / "out").exists()


def test_devices_reach_the_training(
    wsikit: Wsikit, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def train(*_: object, **options: object) -> None:
        asked.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "run_train", train)
    for stage in ("run_tile", "run_graph"):
        monkeypatch.setattr(study, stage, lambda *_, **__: ("graph", study.Outcome()))
    monkeypatch.setattr(study, "run_extract", lambda *_, **__: ("encoder", study.Outcome()))
    wsikit(
        "run", recipe(folder, "two", "cohort: cohort.csv"), "-o", tmp_path / "out",
        "--devices", 2, "-j", 1,
    )  # fmt: skip
    assert asked["devices"] == 2
