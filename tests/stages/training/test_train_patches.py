"""Training an encoder from a store: split, files, resume, and what the run is good for after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from tests.stages.textured_cohort import make_store, recipe
from wsikit.config import ExtractConfig, HeatmapConfig, load_config, packaged_config
from wsikit.encoders.encoder import build_encoder, encoder_id
from wsikit.errors import CohortError, ConfigError, StoreError, UsageError, WeightsError
from wsikit.methods import METHODS, patch_method
from wsikit.stages.evaluation.evaluate import run_evaluate
from wsikit.stages.extraction.extract import run_extract
from wsikit.stages.heatmaps.heatmap import run_heatmap
from wsikit.stages.prediction.patch_table import read_patches
from wsikit.stages.prediction.predict import run_predict
from wsikit.stages.progress import Silent
from wsikit.stages.run_folder import RunFolder
from wsikit.stages.training import patch_network
from wsikit.stages.training.begin_run import Schedule
from wsikit.stages.training.patch_network import starting_encoder
from wsikit.stages.training.train import run_train
from wsikit.store.store import Store
from wsikit.training.metrics.metrics import METRICS

pytestmark = pytest.mark.usefixtures("one_thread")


class Made(NamedTuple):
    store: Path
    cohort: Path
    run: RunFolder
    sides: list


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A finished run, evaluated, and the sides its fit was given."""
    folder = tmp_path_factory.mktemp("patches")
    store, cohort = make_store(folder)
    sides = []
    with pytest.MonkeyPatch.context() as patch:
        real = patch_method.fit_patches
        patch.setattr(patch_method, "fit_patches", lambda *a: (sides.append(a[1:3]), real(*a))[1])
        run_train(store, cohort, folder / "run", recipe(), device="cpu")
    run_evaluate(folder / "run")
    return Made(store, cohort, RunFolder(folder / "run"), sides)


def again(made: Made, out: Path, *more: str, **other):
    return run_train(made.store, made.cohort, out, recipe(*more), device="cpu", **other)


def test_no_patch_of_a_held_out_patient_is_learnt_from(made: Made) -> None:
    splits = made.run.splits()
    assert (splits.groupby("patient_id")["split"].nunique() == 1).all()
    ((train, val),) = made.sides
    for side, name in ((train, "train"), (val, "val")):
        wanted = splits[splits["split"] == name]
        assert [slide.slide_id for slide in side.slides] == list(wanted["slide_id"])
        assert [slide.label for slide in side.slides] == [
            ("coarse", "fine").index(label) for label in wanted["label"]
        ]
        assert all(slide.patches == 12 for slide in side.slides)
    assert set(made.run.predictions()["slide_id"]) == set(
        splits.loc[splits["split"] == "test", "slide_id"]
    )


def test_it_learns_and_says_so_with_intervals(made: Made) -> None:
    metrics = json.loads(made.run.metrics_json.read_text())
    assert metrics["pooled"]["auc"]["value"] == 1
    patches = metrics["patches"]
    assert patches["pooled"]["auc"]["value"] > 0.95
    assert patches["validation"]["0"]["accuracy"]["value"] > 0.9
    for numbers in (patches["pooled"], patches["folds"]["0"], patches["validation"]["0"]):
        assert set(numbers) == set(METRICS)
        auc = numbers["auc"]
        assert auc["low"] <= auc["value"] <= auc["high"]
    assert patches["pooled"] == patches["folds"]["0"]
    assert "This run trained an encoder" in made.run.report_html.read_text()


def test_a_slides_probability_is_the_mean_over_its_patches(made: Made, tmp_path: Path) -> None:
    outcome = run_predict(made.store, made.run.path, tmp_path, device="cpu")
    assert not outcome.failed
    predictions = RunFolder(tmp_path).predictions().set_index("slide_id")
    assert len(predictions) == len(Store(made.store).slide_ids())
    held_out = made.run.predictions().set_index("slide_id")
    for slide_id, row in predictions.iterrows():
        table = read_patches(tmp_path / "patches" / f"{slide_id}.parquet")
        assert len(table) == 12
        assert row["prob_fine"] == pytest.approx(table["prob_fine"].mean(), rel=1e-5)
        if slide_id in held_out.index:
            expected = held_out.loc[slide_id, "prob_fine"]
            assert row["prob_fine"] == pytest.approx(expected, rel=1e-5)
    drawn = run_heatmap(
        made.store, tmp_path, None, HeatmapConfig(formats=("geojson",)), slide_ids=["p0s0"]
    )
    assert drawn.done == ["p0s0"]


def test_the_run_is_an_encoder_by_its_folder(made: Made, tmp_path: Path) -> None:
    encoder = build_encoder(f"file:{made.run.path}")
    assert encoder.spec.input_px == 32
    start = starting_encoder(recipe().train.patch, print)
    assert encoder_id(encoder) != encoder_id(start)
    assert made.run.facts().encoder_id == encoder_id(start)
    config = ExtractConfig(encoder=f"file:{made.run.path}", dtype="float32", batch_size=8)
    found, outcome = run_extract(made.store, config, device="cpu")
    assert not outcome.failed
    slide = Store(made.store).slide("p3s0")
    pixels = np.stack([slide.read_patch(n).transpose(2, 0, 1) for n in range(12)])
    with torch.inference_mode():
        expected = encoder(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(slide.features(found), expected, rtol=1e-4, atol=1e-5)


def test_its_split_is_a_cohort_that_keeps_held_out_slides_held_out(
    made: Made, tmp_path: Path
) -> None:
    found, _ = run_extract(made.store, ExtractConfig(encoder=f"file:{made.run.path}"), device="cpu")
    config = recipe("train.method=abmil", "train.epochs=2")
    run_train(
        made.store, made.run.splits_csv, tmp_path / "run", config, encoder=found, device="cpu"
    )
    columns = ["slide_id", "split", "patient_id", "label"]
    one, other = (run.splits()[columns] for run in (made.run, RunFolder(tmp_path / "run")))
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("epoch", [1, 3])
def test_killed_and_started_again_it_ends_in_the_same_bytes(
    made: Made, tmp_path: Path, epoch: int
) -> None:
    class Killed(BaseException):
        pass

    class Watch(Silent):
        def advance(self, label: str, units: int = 1) -> None:
            if f"epoch {epoch}," in label:
                raise Killed

    with pytest.raises(Killed):
        again(made, tmp_path / "run", progress=Watch())
    again(made, tmp_path / "run")
    for name in ("encoder.safetensors", "predictions.csv", "patch_metrics.json", "split.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (made.run.path / name).read_bytes(), name


def test_a_second_run_does_nothing_and_another_recipe_is_refused(made: Made) -> None:
    files = sorted(path for path in made.run.path.rglob("*") if path.is_file())
    times = [path.stat().st_mtime_ns for path in files]
    outcome = again(made, made.run.path)
    assert not outcome.done
    assert len(outcome.skipped) == len(Store(made.store).slide_ids())
    assert [path.stat().st_mtime_ns for path in files] == times
    for change in ("train.head={m: 0.2}", "train.patch.augment=false", "train.method=softmax"):
        with pytest.raises(StoreError, match="holds a run by another recipe"):
            again(made, made.run.path, change)


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_patch_metrics_that_are_damaged(tmp_path: Path, content: str) -> None:
    run = RunFolder(tmp_path)
    assert run.patch_metrics() is None
    run.patch_metrics_json.write_text(content)
    with pytest.raises(StoreError, match=r"patch_metrics.json: cannot be read"):
        run.patch_metrics()


def test_several_folds_leave_an_encoder_each(made: Made, tmp_path: Path) -> None:
    again(made, tmp_path, "train.folds=2", "train.epochs=1", "train.method=softmax")
    ids = {encoder_id(build_encoder(f"file:{tmp_path / 'folds' / k}")) for k in "01"}
    assert len(ids) == 2
    assert not (tmp_path / "encoder.safetensors").exists()
    evaluation = run_evaluate(tmp_path)
    assert set(evaluation.folds) == {"0", "1"} == set(evaluation.patches["folds"])
    outcome = run_predict(made.store, tmp_path, device="cpu")
    assert not outcome.failed


def test_shuffled_labels_give_chance(made: Made, tmp_path: Path) -> None:
    """Labels dealt to patients so that each class has as many of either texture."""
    table = pd.read_csv(made.cohort, dtype=str)
    patient = table["patient_id"].str.removeprefix("patient-").astype(int)
    table["label"] = np.where(patient // 2 % 2 == 0, "a", "b")
    table["split"] = np.array(["train", "val", "test"])[(patient // 4).to_numpy()]
    table.to_csv(made.cohort.with_name("shuffled.csv"), index=False)
    run_train(made.store, made.cohort.with_name("shuffled.csv"), tmp_path, recipe(), device="cpu")
    auc = run_evaluate(tmp_path).patches["pooled"]["auc"]["value"]
    assert 0.2 < auc < 0.8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.head={margin: 0.2}", "method 'am-softmax' has no option 'margin'"),
        ("train.head={m: -1}", "m is -1"),
        ("train.patch.frozen=99", r"train.patch.frozen is 99, and the network has \d+ layers"),
        ("train.patch.encoder=vgg61", "did you mean 'vgg16'"),
        ("train.positive=purple", "train.positive is 'purple'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    made: Made, tmp_path: Path, change: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        again(made, tmp_path / "run", change)
    assert not (tmp_path / "run").exists()


def test_a_picture_that_the_network_cannot_see() -> None:
    config = recipe("train.patch.encoder=timm:test_vit3", "train.patch.input_px=32").train.patch
    with pytest.raises(ConfigError, match=r"is 32, which timm:test_vit3 cannot see .*leave it out"):
        starting_encoder(config, print)


def test_auto_takes_random_weights_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    real, said = patch_network.build_encoder, []

    def offline(name: str, weights: str):
        if weights == "pretrained":
            raise WeightsError("its weights are not in the cache", "fetch them")
        return real(name, weights)

    monkeypatch.setattr(patch_network, "build_encoder", offline)
    config = recipe("train.patch.weights=auto").train.patch
    encoder = starting_encoder(config, said.append)
    assert encoder.weights == "random"
    assert said == ["starting from random weights, since: its weights are not in the cache"]
    with pytest.raises(WeightsError):
        starting_encoder(config.model_copy(update={"weights": "pretrained"}), said.append)


def test_a_slide_without_pixels_is_left_out_by_name(made: Made, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "wsikit.store.stored_slide.StoredSlide.has_pixels",
            property(lambda self: self.slide_id != "p0s0"),
        )
        outcome = again(made, tmp_path, "train.epochs=1")
    assert set(outcome.failed) == {"p0s0"}
    assert "has no pixels" in outcome.failed["p0s0"]


def test_patch_settings_are_no_part_of_a_slide_methods_recipe(made: Made, tmp_path: Path) -> None:
    """And a number of epochs left to the method is the same as the method's own."""
    config = ExtractConfig(encoder="timm:test_resnet", weights="random")
    found, _ = run_extract(made.store, config, device="cpu")
    ids = []
    for n, changes in enumerate(
        (["train.epochs=30"], ["train.epochs=null", "train.patch.frozen=3", "train.patience=10"])
    ):
        asked = recipe("train.method=abmil", *changes)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("wsikit.methods.method.fit_head", _stop)
            with pytest.raises(KeyboardInterrupt):
                run_train(
                    made.store, made.cohort, tmp_path / f"{n}", asked, encoder=found, device="cpu"
                )
        ids.append(RunFolder(tmp_path / f"{n}").facts().recipe_id)
        assert RunFolder(tmp_path / f"{n}").config().train.epochs == 30
    assert ids[0] == ids[1]


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


class Counted(Silent):
    """Count what is reported."""

    def __init__(self) -> None:
        self.total, self.done, self.ticks = 0, 0, []

    def start(self, stage: str, total: int) -> None:
        self.total, self.done, self.ticks = total, 0, []

    def advance(self, label: str, units: int = 1) -> None:
        self.done += units

    def tick(self, label: str, units: int = 1) -> None:
        self.done += units
        self.ticks.append((label, units))


@pytest.mark.parametrize("patience", [4, 1])
def test_progress_is_told_batch_by_batch_and_ends_at_its_total(
    made: Made, tmp_path: Path, patience: int
) -> None:
    """Also where training stops early."""
    told = Counted()
    again(made, tmp_path / "run", f"train.patience={patience}", progress=told)
    ((train, val),) = made.sides
    batches = [-(-len(side.slides) * 8 // 16) for side in (train, val)]
    assert [label for label, _ in told.ticks[: sum(batches)]] == [
        f"fold 0, epoch 1: batch {n + 1} of {sum(batches)}" for n in range(sum(batches))
    ]
    assert {units for _, units in told.ticks} == {1}
    assert told.done == told.total
    if patience == 4:
        same = (tmp_path / "run" / "encoder.safetensors").read_bytes()
        assert same == made.run.encoder.read_bytes()


def test_a_start_goes_on_from_encoder_and_last_layer(made: Made, tmp_path: Path) -> None:
    """No step taken: what comes out is what the start had, on the split it had."""
    outcome = again(
        made, tmp_path / "run", f"train.patch.start={made.run.path}", "train.epochs=1",
        "train.lr=1e-12", "train.weight_decay=0", split=made.run.path,
    )  # fmt: skip
    assert outcome.done
    one, other = made.run, RunFolder(tmp_path / "run")
    expected = load_file(one.fold(0) / "head.safetensors")
    for name, tensor in load_file(other.fold(0) / "head.safetensors").items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-6)
    assert other.facts().encoder_id == encoder_id(build_encoder(f"file:{one.path}"))
    scores, before = (run.predictions().set_index("slide_id")["prob_fine"] for run in (other, one))
    assert (scores - before).abs().max() < 0.35  # norms followed the batches of one epoch


def test_a_start_that_saw_a_held_out_patient_is_refused(made: Made, tmp_path: Path) -> None:
    table = made.run.splits()
    seen = table.loc[table["split"] == "train", "patient_id"].iloc[0]
    table.loc[table["patient_id"] == seen, "split"] = "test"
    cohort = tmp_path / "cohort.csv"
    table[["slide_id", "patient_id", "label", "split"]].to_csv(cohort, index=False)
    config = recipe(f"train.patch.start={made.run.path}")
    with pytest.raises(CohortError, match=f"patient '{seen}' .* are held out"):
        run_train(made.store, cohort, tmp_path / "run", config, device="cpu")


def test_a_start_must_be_a_finished_run(made: Made, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no run here"):
        again(made, tmp_path / "run", f"train.patch.start={tmp_path}")


def test_a_methods_own_settings_hold_where_the_user_says_nothing() -> None:
    config = load_config(None, ["train.method=resnet50_cbam", "train.patch.batch_size=8"])
    method = METHODS["resnet50_cbam"]
    full = Schedule.of(config, method).written_into(config).train
    assert (full.lr, full.weight_decay, full.epochs, full.patience) == (1e-3, 0, 150, 20)
    assert (full.patch.batch_size, full.patch.optimiser) == (8, "adam")
    assert (full.patch.encoder, full.patch.choose) == ("resnet50_cbam", "accuracy")
    packaged = load_config(packaged_config("resnet50_cbam"))
    again_full = Schedule.of(packaged, method).written_into(packaged).train
    assert again_full.patch == full.patch.model_copy(update={"batch_size": 32})
    assert again_full.lr == full.lr
    e = load_config(packaged_config("xception_c"))
    own = load_config(None, ["train.method=xception_c"])
    one, other = (Schedule.of(c, METHODS["xception_c"]).written_into(c).train for c in (e, own))
    assert one.patch == other.patch
    assert (one.lr, one.epochs, one.patience) == (other.lr, other.epochs, other.patience)
