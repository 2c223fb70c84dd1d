"""Self-distillation through the stages: train, folds, predict, heatmap, evaluate, resume."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from tests.stages.textured_cohort import make_store, recipe
from wsikit.config import Config, ExtractConfig, HeatmapConfig
from wsikit.errors import CohortError, UsageError
from wsikit.heads.instance_pool import InstancePool
from wsikit.stages.evaluation.evaluate import run_evaluate
from wsikit.stages.extraction.extract import run_extract
from wsikit.stages.heatmaps.heatmap import run_heatmap
from wsikit.stages.prediction.patch_table import read_patches
from wsikit.stages.prediction.predict import run_predict
from wsikit.stages.progress import Silent
from wsikit.stages.run_folder import RunFolder
from wsikit.stages.training.train import run_train
from wsikit.store.store import Store

pytestmark = pytest.mark.usefixtures("one_thread")

# Of the textured cohort's positive slides every patch is positive.
METHODS = {
    "self_distillation": ("train.head={share: 0.8, momentum: 0.9}",),
    "self_distillation_features": (
        "train.head={share: 0.8, momentum: 0.9, batch_size: 16, per_slide: 8}", "train.lr=1e-2",
    ),
}  # fmt: skip


class Made(NamedTuple):
    store: Path
    cohort: Path
    encoder_id: str
    runs: dict[str, RunFolder]


def settings(method: str, *more: str) -> Config:
    return recipe(f"train.method={method}", *METHODS[method], *more)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A finished run of either method, predicted and evaluated."""
    folder = tmp_path_factory.mktemp("distil")
    store, cohort = make_store(folder)
    config = ExtractConfig(encoder="timm:test_resnet", weights="random")
    encoder_id, _ = run_extract(store, config, device="cpu")
    made = Made(store, cohort, encoder_id, {})
    for method in METHODS:
        made.runs[method] = RunFolder(folder / method)
        train(made, method, folder / method)
        run_predict(store, folder / method, device="cpu")
        run_evaluate(folder / method)
    return made


def train(made: Made, method: str, out: Path, *more: str, cohort: Path | None = None, **other):
    return run_train(
        made.store, cohort or made.cohort, out, settings(method, *more),
        encoder=made.encoder_id, device="cpu", **other,
    )  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_it_learns_and_a_slides_score_is_pooled_from_its_patches(made: Made, method: str) -> None:
    run = made.runs[method]
    assert run_evaluate(run.path).pooled["auc"].value == 1
    predictions = run.predictions().set_index("slide_id")
    assert len(predictions) == len(Store(made.store).slide_ids())
    for slide_id, row in predictions.iterrows():
        table = read_patches(run.patch_table(slide_id))
        scores = torch.from_numpy(table[["prob_coarse", "prob_fine"]].to_numpy(copy=True))
        wanted = InstancePool("top", 0.1).pooled(scores)[1].item()
        assert row["prob_fine"] == pytest.approx(wanted, rel=1e-4)
        np.testing.assert_array_equal(table["score"], table["prob_fine"])
    assert method in run.report_html.read_text()


@pytest.mark.parametrize("method", METHODS)
def test_predicted_again_held_out_slides_score_the_same(
    made: Made, method: str, tmp_path: Path
) -> None:
    run_predict(made.store, made.runs[method].path, tmp_path, device="cpu")
    again = RunFolder(tmp_path).predictions().set_index("slide_id")["prob_fine"]
    before = made.runs[method].predictions().set_index("slide_id")["prob_fine"]
    np.testing.assert_allclose(again[before.index], before, rtol=1e-5)
    drawn = run_heatmap(
        made.store, tmp_path, None, HeatmapConfig(formats=("geojson",)), slide_ids=["p1s0"]
    )
    assert drawn.done == ["p1s0"]


@pytest.mark.parametrize("method", METHODS)
def test_killed_and_started_again_it_ends_in_the_same_bytes(
    made: Made, method: str, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    class Watch(Silent):
        def advance(self, label: str, units: int = 1) -> None:
            if "epoch 2," in label:
                raise Killed

    with pytest.raises(Killed):
        train(made, method, tmp_path / "cut", progress=Watch())
    train(made, method, tmp_path / "cut")
    train(made, method, tmp_path / "whole")
    names = {"predictions.csv", "split.csv", "folds/0/head.safetensors"}
    if method == "self_distillation":
        names |= {"encoder.safetensors", "patch_metrics.json"}
    for name in names:
        one, other = (tmp_path / run / name for run in ("cut", "whole"))
        assert one.read_bytes() == other.read_bytes(), name


@pytest.mark.parametrize("method", METHODS)
def test_several_folds(made: Made, method: str, tmp_path: Path) -> None:
    train(made, method, tmp_path, "train.folds=2", "train.epochs=1")
    assert set(run_evaluate(tmp_path).folds) == {"0", "1"}
    assert not run_predict(made.store, tmp_path, device="cpu").failed


def test_progress_is_told_batch_by_batch_and_ends_at_its_total(made: Made, tmp_path: Path) -> None:
    class Counted(Silent):
        total, done = 0, 0

        def start(self, stage: str, total: int) -> None:
            self.total, self.done = total, 0

        def advance(self, label: str, units: int = 1) -> None:
            self.done += units

        tick = advance

    told = Counted()
    train(made, "self_distillation", tmp_path, progress=told)
    assert told.done == told.total


def relabelled(made: Made, labels: list[str]) -> pd.DataFrame:
    """Return the cohort with other labels, dealt out in turn to patients."""
    table = pd.read_csv(made.cohort, dtype=str)
    patient = table["patient_id"].str.removeprefix("patient-").astype(int)
    return table.assign(label=np.array(labels)[patient % len(labels)])


@pytest.mark.parametrize("method", METHODS)
def test_three_labels_are_refused_before_anything_is_written(
    made: Made, method: str, tmp_path: Path
) -> None:
    cohort = made.cohort.with_name("three.csv")
    relabelled(made, ["a", "b", "c"]).to_csv(cohort, index=False)
    with pytest.raises(CohortError, match="the labels are a, b, c: give two labels"):
        train(made, method, tmp_path / "run", cohort=cohort)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kept", ["a", "b"])
def test_a_training_side_without_one_kind_is_refused(
    made: Made, method: str, tmp_path: Path, kept: str
) -> None:
    cohort = made.cohort.with_name("lacking.csv")
    table = relabelled(made, ["a", "b", "a", "a", "b", "b"])
    patients = pd.factorize(table["patient_id"])[0]
    others = np.array(["val", "test"])[patients // 6]
    table["split"] = np.where(table["label"] == kept, "train", others)
    table.to_csv(cohort, index=False)
    with pytest.raises(CohortError, match="has no slide in train"):
        train(made, method, tmp_path, cohort=cohort)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("{shar: 0.2}", "has no option 'shar': did you mean 'share'"),
        ("{share: 2}", "share is 2: give a number from 0 to 1"),
        ("{pool: median}", "pool is 'median'"),
    ],
)
def test_a_wrong_option_is_one_line(
    made: Made, method: str, tmp_path: Path, head: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        train(made, method, tmp_path, f"train.head={head}")


def test_resnet18_is_trained_where_no_network_is_named(made: Made, tmp_path: Path) -> None:
    config = settings("self_distillation", "train.patch.encoder=null")

    def stop(config, say):
        assert config.encoder == "resnet18"
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wsikit.stages.training.train_patches.starting_encoder", stop)
        with pytest.raises(KeyboardInterrupt):
            run_train(made.store, made.cohort, tmp_path, config, device="cpu")
