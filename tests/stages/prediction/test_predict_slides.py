"""A model is one folder: moved elsewhere it scores slides as before, and flags unlike ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from tests.stages import textured_cohort
from tests.stages.model_cohort import (
    altered,
    bytes_of,
    move_away,
    recipe,
    save_picture,
    spec,
    train,
    weights_file,
    write_slides,
)
from wsikit.config import load_config
from wsikit.encoders.encoder import build_encoder
from wsikit.encoders.saved import save_encoder
from wsikit.errors import StoreError, UsageError, WeightsError
from wsikit.stages.cohort import SourceSlide, source_slides
from wsikit.stages.prediction.predict import run_predict
from wsikit.stages.prediction.predict_slides import Regions, predict_slides, predict_store
from wsikit.stages.progress import Silent
from wsikit.stages.run_folder import RunFolder
from wsikit.stages.tiling.tile import run_tile
from wsikit.stages.training.model_folder import Model
from wsikit.stages.training.train import run_train
from wsikit.store.store import Store
from wsikit.types import Mpp

pytestmark = pytest.mark.usefixtures("one_thread")

TRAINING = 18
NEW = 12


class Lines(Silent):
    """Remember what was said, and which stages there were."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.stages: list[str] = []

    def start(self, stage: str, total: int) -> None:
        self.stages.append(stage.partition(".")[0])

    def advance(self, label: str, units: int = 1) -> None:
        self.said.append(label)

    def say(self, line: str) -> None:
        self.said.append(line)


class Made(NamedTuple):
    """A run moved away from its training, of which only its predictions are left."""

    slides: Path
    run: Path
    before: dict[str, bytes]
    elsewhere: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A graph method on features of an encoder of one's own, and a stain reference of one's own."""
    folder = tmp_path_factory.mktemp("training")
    cohort = write_slides(folder / "slides", range(TRAINING))
    weights = weights_file(folder / "mine.safetensors")
    config = recipe(f"extract.encoder=file:{weights}", "extract.dtype=float32")
    reference = folder / "slides" / "s002.tiff"
    run = train(folder, cohort, config, reference=reference, graphs=True, name="run")
    outcome = run_predict(folder / "store", run, folder / "before", device="cpu")
    assert not outcome.failed
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    model = move_away(run, elsewhere / "model", folder / "store", weights)
    return Made(folder / "slides", model, bytes_of(folder / "before"), elsewhere)


@pytest.fixture(scope="module")
def again(made: Made) -> Path:
    """The training slides, predicted by the moved run into `again/`."""
    out = made.elsewhere / "again"
    outcome = predict_slides(
        source_slides([made.slides / "cohort.csv"]), made.run, out, out / "store", device="cpu"
    )
    assert len(outcome.done) == TRAINING
    assert not outcome.failed
    return out


def test_the_folder_alone_gives_the_same_bytes(made: Made, again: Path) -> None:
    assert bytes_of(again) == made.before


def test_who_may_read_the_configuration_may_read_the_weights(made: Made) -> None:
    rights = {path.stat().st_mode & 0o777 for path in made.run.rglob("*") if path.is_file()}
    assert rights == {(made.run / "config.yaml").stat().st_mode & 0o777}


def test_the_new_store_is_described_as_the_old_one_was(made: Made, again: Path) -> None:
    facts = RunFolder(made.run).facts()
    slide = Store(again / "store").slide("s000")
    assert slide.encoder_ids() == [facts.encoder_id]
    assert slide.graph_ids() == [facts.graph_id]
    assert slide.feature_dtype(facts.encoder_id) == np.float32
    assert Store(again / "store").tile_recipe == facts.tile_recipe
    assert not (again / "store" / "encoders").exists()


def test_a_second_call_does_only_what_is_left(
    made: Made, again: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And builds no encoder for slides that are described."""
    monkeypatch.setattr(Model, "encoder", lambda *a: pytest.fail("an encoder was built"))
    lines = Lines()
    sources = source_slides([made.slides / "cohort.csv"])
    outcome = predict_slides(
        sources, made.run, tmp_path, again / "store", device="cpu", progress=lines
    )
    assert len(outcome.done) == TRAINING
    assert lines.stages == ["tile", "predict"]
    assert bytes_of(tmp_path) == made.before


def test_a_store_gets_only_what_it_lacks(made: Made, again: Path, tmp_path: Path) -> None:
    store = shutil.copytree(again / "store", tmp_path / "store")
    for name, gone in (("s001", "features"), ("s001", "graphs"), ("s004", "graphs")):
        shutil.rmtree(store / "slides" / f"{name}.zarr" / gone)
    lines = Lines()
    outcome = predict_store(store, made.run, tmp_path / "out", device="cpu", progress=lines)
    assert len(outcome.done) == TRAINING
    assert lines.stages == ["extract", "graph", "predict"]
    assert bytes_of(tmp_path / "out") == made.before


def test_one_bad_slide_does_not_stop_the_others(made: Made, tmp_path: Path) -> None:
    slides = tmp_path / "new"
    slides.mkdir()
    pixels = np.full((300, 340, 3), 150, np.uint8)
    save_picture(pixels, slides / "coarse.tiff", mpp=2.0)
    (slides / "torn.tiff").write_bytes((made.slides / "s000.tiff").read_bytes()[:3000])
    shutil.copy(made.slides / "s005.tiff", slides / "renamed.tiff")
    save_picture(np.full((300, 340, 3), 244, np.uint8), slides / "glass.tiff")
    from PIL import Image

    Image.fromarray(pixels).save(slides / "bare.png")
    sources = [*source_slides([slides]), SourceSlide("bare", slides / "bare.png")]
    outcome = predict_slides(
        sources, made.run, tmp_path / "out", tmp_path / "out" / "store", device="cpu"
    )
    assert outcome.done == ["renamed"]
    assert set(outcome.failed) == {"coarse", "torn", "glass", "bare"}
    assert (
        "2 x 2 um/px, coarser than the wanted 1 x 1: the model was trained so"
        in (outcome.failed["coarse"])
    )
    assert "set tile.mpp" not in outcome.failed["coarse"]
    assert "states no micrometres per pixel" in outcome.failed["bare"]
    assert "no tissue was found" in outcome.failed["glass"]
    assert "trained so" not in outcome.failed["torn"]
    table = pd.read_csv(tmp_path / "out" / "predictions.csv", keep_default_na=False)
    assert list(table["slide_id"]) == ["renamed"]
    assert list(table["fold"]) == [""]  # of another name it is a new slide: the mean over folds


def test_an_encoder_that_is_lost_or_another_is_refused_before_tiling(
    made: Made, tmp_path: Path
) -> None:
    run = shutil.copytree(made.run, tmp_path / "run")
    sources = source_slides([made.slides / "s000.tiff"])
    (run / "encoder.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"holds no encoder.safetensors, .* --weights FILE"):
        predict_slides(sources, run, tmp_path / "out", tmp_path / "store", device="cpu")
    other = tmp_path / "other.safetensors"
    save_encoder(other, build_encoder("timm:test_resnet", "random"))
    with pytest.raises(WeightsError, match=r"trained on features of mine-file-.*is another"):
        predict_slides(
            sources, run, tmp_path / "out", tmp_path / "store", device="cpu", weights=str(other)
        )
    assert not Store(tmp_path / "store").slide_ids()
    outcome = predict_slides(
        sources, run, tmp_path / "out", tmp_path / "store", device="cpu",
        weights=str(made.run / "encoder.safetensors"),
    )  # fmt: skip
    assert outcome.done == ["s000"]


def test_a_lost_reference_or_another_recipe_is_refused(made: Made, tmp_path: Path) -> None:
    run = shutil.copytree(made.run, tmp_path / "run")
    (run / "stain_reference.json").unlink()
    with pytest.raises(StoreError, match="stain reference of its slides is not in it: copy"):
        Model(RunFolder(run)).tile()
    with pytest.raises(UsageError, match="trained without regions to keep: leave --keep out"):
        Model(RunFolder(made.run)).tile(keep="areas.geojson")
    text = (run / "provenance.json").read_text()
    (run / "provenance.json").write_text(text.replace('"algorithm": 2', '"algorithm": 1', 1))
    shutil.copy(made.run / "stain_reference.json", run)
    with pytest.raises(StoreError, match=r"cannot tile as .* \(algorithm: 1 -> 2\): use wsikit"):
        Model(RunFolder(run)).tile()
    sources = source_slides([made.slides / "s000.tiff"])
    run_tile(sources, tmp_path / "store", load_config(None, ["tile.size=64"]).tile)
    with pytest.raises(StoreError, match=r"tiled otherwise than the run's slides \(.*size"):
        predict_store(tmp_path / "store", made.run, tmp_path / "out", device="cpu")


def test_a_run_trained_within_regions_asks_for_them(made: Made, tmp_path: Path) -> None:
    run = shutil.copytree(made.run, tmp_path / "run")
    text = (run / "provenance.json").read_text()
    within = text.replace('"keep": false', '"keep": true, "origin": "qupath"', 1)
    (run / "provenance.json").write_text(within)
    with pytest.raises(UsageError, match=r"with regions to keep: give those .* with --keep"):
        predict_slides(
            source_slides([made.slides / "s000.tiff"]), run, tmp_path, tmp_path / "s",
            regions=Regions(), device="cpu",
        )  # fmt: skip
    assert Model(RunFolder(run)).tile(keep="areas").roi.keep == "areas"


def test_a_model_may_be_handed_on_without_names(made: Made, again: Path, tmp_path: Path) -> None:
    """Without its split no slide is known, and each is scored by the mean over the folds."""
    run = tmp_path / "run"
    keep = ("*.csv", "*.html", "metrics.json", "patches", "history.csv", "heatmaps")
    shutil.copytree(made.run, run, ignore=shutil.ignore_patterns(*keep))
    lines = Lines()
    outcome = predict_store(
        again / "store", run, tmp_path / "out", slide_ids=["s000"], device="cpu", progress=lines
    )
    assert outcome.done == ["s000"]
    assert any("has no split.csv, so every slide counts as new" in line for line in lines.said)
    table = pd.read_csv(tmp_path / "out" / "predictions.csv", keep_default_na=False)
    assert table["fold"].tolist() == [""]


def test_features_of_an_ingested_slide_are_asked_for(
    made: Made, again: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = shutil.copytree(again / "store", tmp_path / "store")
    shutil.rmtree(store / "slides" / "s001.zarr" / "features")
    monkeypatch.setattr(
        "wsikit.store.stored_slide.StoredSlide.has_pixels",
        property(lambda slide: slide.slide_id != "s001"),
    )
    outcome = predict_store(store, made.run, tmp_path / "out", device="cpu")
    assert set(outcome.failed) == {"s001"}
    assert (
        "was ingested without pixels, and has no features by mine-file-" in (outcome.failed["s001"])
    )
    assert len(outcome.done) == TRAINING - 1


@pytest.fixture(scope="module")
def flagged(made: Made) -> tuple[pd.DataFrame, Lines]:
    """New slides like the training's, and some that are not, predicted with the moved run."""
    slides = made.elsewhere / "new"
    write_slides(slides, range(100, 100 + NEW))
    (slides / "cohort.csv").unlink()
    source = slides / f"{spec(104).slide_id}.tiff"
    rng = np.random.default_rng(0)

    def shuffled(pixels: np.ndarray) -> np.ndarray:
        """The same colours in grains of 3 px: no tissue looks so."""
        rows, cols = pixels.shape[0] // 3, pixels.shape[1] // 3
        blocks = pixels[: 3 * rows, : 3 * cols].reshape(rows, 3, cols, 3, 3)
        flat = blocks.transpose(0, 2, 1, 3, 4).reshape(-1, 3, 3, 3)
        mixed = flat[rng.permutation(len(flat))].reshape(rows, cols, 3, 3, 3)
        return mixed.transpose(0, 2, 1, 3, 4).reshape(3 * rows, 3 * cols, 3)

    altered(source, slides / "x-hue.tiff", lambda p: p[..., [1, 0, 2]])
    altered(
        source, slides / "x-grey.tiff",
        lambda p: np.repeat(p.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8),
    )  # fmt: skip
    altered(source, slides / "x-tissue.tiff", shuffled)
    altered(source, slides / "x-small.tiff", lambda p: p[160:290, 200:330])
    lines = Lines()
    out = made.elsewhere / "flagged"
    outcome = predict_slides(
        source_slides([slides]), made.run, out, out / "store", device="cpu", progress=lines
    )
    assert not outcome.failed
    table = pd.read_csv(out / "predictions.csv", keep_default_na=False)
    return table.set_index("slide_id"), lines


def test_unlike_slides_are_flagged(flagged: tuple[pd.DataFrame, Lines]) -> None:
    flags = flagged[0]["flags"]
    assert "stain far from training" in flags["x-hue"]
    assert "stain far from training" in flags["x-grey"]
    assert "features far from training" in flags["x-tissue"]
    assert "few patches" in flags["x-small"]
    told = [line for line in flagged[1].said if line.startswith("x-hue: ")]
    assert "FLAGGED: stain far from training" in told[-1], told


def test_like_slides_are_not(flagged: tuple[pd.DataFrame, Lines]) -> None:
    """14 slides are trained on in either fold, so each kind of flag has a rate of 1 in 15."""
    table, lines = flagged
    like = table[table.index.str.startswith("s")]
    assert len(like) == NEW
    assert (like["flags"] != "").sum() <= 3
    assert "of like ones at most about 13.3% would be" in lines.said[-1]
    shifts = like[["stain_shift", "feature_shift"]].astype(float)
    assert ((shifts > 1).any(axis=1) == like["flags"].str.contains("far from")).all()


def test_the_flags_stand_after_the_columns_there_were(flagged: tuple[pd.DataFrame, Lines]) -> None:
    assert list(flagged[0].columns) == [
        "patient_id", "label", "fold", "split", "pred", "prob_normal", "prob_tumour",
        "flags", "stain_shift", "feature_shift", "lowest", "highest",
    ]  # fmt: skip


def test_a_run_made_before_scores_as_ever_and_says_so_once(
    made: Made, again: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(made.run, tmp_path / "run")
    (run / "statistics.safetensors").unlink()
    lines = Lines()
    predict_store(again / "store", run, tmp_path / "out", device="cpu", progress=lines)
    assert sum("keeps no statistics of its training slides" in line for line in lines.said) == 1
    old, new = (
        pd.read_csv(path / "predictions.csv", keep_default_na=False)
        for path in (tmp_path / "out", again)
    )
    assert list(new.columns[: len(old.columns)]) == list(old.columns)
    assert "flags" not in old
    pd.testing.assert_frame_equal(old, new[old.columns])


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"x" * 200])
def test_damaged_statistics_are_one_line(
    made: Made, again: Path, tmp_path: Path, content: bytes
) -> None:
    run = shutil.copytree(made.run, tmp_path / "run")
    (run / "statistics.safetensors").write_bytes(content)
    with pytest.raises(StoreError, match=r"statistics.safetensors: not the statistics of this run"):
        predict_store(again / "store", run, tmp_path / "out", device="cpu")


def test_patches_of_another_resolution_are_refused(
    made: Made, again: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a model at each slide's own resolution (native) meets them."""
    monkeypatch.setattr(
        "wsikit.store.stored_slide.StoredSlide.mpp",
        property(lambda slide: Mpp(0.5, 0.5) if slide.slide_id == "s003" else Mpp(1.0, 1.0)),
    )
    lines = Lines()
    outcome = predict_store(
        again / "store", made.run, tmp_path / "out", device="cpu", progress=lines
    )
    assert set(outcome.failed) == {"s003"}
    assert outcome.failed["s003"].startswith(
        "its patches have 0.5 x 0.5 um/px, and the model was trained at 1 x"
    )
    (told,) = [line for line in lines.said if "FAILED" in line]
    assert told.count("s003") == 1


def test_few_training_slides_give_no_flag(again: Path, made: Made, tmp_path: Path) -> None:
    """And encoder weights drawn at random, or the packaged reference, need no file in the run."""
    cohort = pd.read_csv(made.slides / "cohort.csv").head(12)
    cohort["slide"] = [str(made.slides / name) for name in cohort["slide"]]
    cohort.to_csv(tmp_path / "few.csv", index=False)
    config = recipe(
        "train.method=abmil", "train.folds=1", "extract.weights=random",
        "tile.stain.method=histogram", "train.epochs=1",
    )  # fmt: skip
    run = train(tmp_path, tmp_path / "few.csv", config, reference=None, graphs=False, name="run")
    assert not (run / "encoder.safetensors").exists()
    assert RunFolder(run).config().extract.weights == "random"
    assert RunFolder(run).config().tile == recipe("tile.stain.method=histogram").tile
    shutil.rmtree(tmp_path / "store")
    lines = Lines()
    outcome = predict_slides(
        source_slides([made.slides / "s016.tiff"]), run, tmp_path / "out", tmp_path / "new",
        device="cpu", progress=lines,
    )  # fmt: skip
    assert outcome.done == ["s016"]
    assert any("too few to tell an unlike slide" in line for line in lines.said)
    assert "flags" not in pd.read_csv(tmp_path / "out" / "predictions.csv")


def test_weights_by_name_that_are_others_today_are_refused(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As published weights that were replaced under their name."""
    run = shutil.copytree(made.run, tmp_path / "run")
    (run / "encoder.safetensors").unlink()
    config = (run / "config.yaml").read_text()
    config = config.replace("encoder: mine\n", "encoder: timm:test_resnet\n")
    config = config.replace("weights: encoder.safetensors", "weights: random")
    (run / "config.yaml").write_text(config)
    facts = (run / "provenance.json").read_text()
    (run / "provenance.json").write_text(facts.replace("mine-file-", "timm-test_resnet-random-"))
    with pytest.raises(WeightsError, match=r"the encoder at hand is another \(timm-test_resnet"):
        Model(RunFolder(run)).encoder()


def test_the_same_training_again_adds_what_an_earlier_version_left_out(
    made: Made, tmp_path: Path
) -> None:
    """Nothing is trained: the weights keep their time."""
    config = recipe("train.method=abmil", "train.folds=1", f"extract.encoder=file:{made.run}")
    cohort = write_slides(tmp_path / "slides", range(6))
    run = train(tmp_path, cohort, config, reference=None, graphs=False, name="run")
    names = ("statistics.safetensors", "stain_reference.json", "encoder.safetensors")
    before = {name: (run / name).read_bytes() for name in names}
    written = (run / "config.yaml").read_bytes()
    for name in names:
        (run / name).unlink()
    (run / "config.yaml").write_bytes(written.replace(b"size: 128", b"size: 512"))
    weights = run / "folds" / "0" / "head.safetensors"
    time = weights.stat().st_mtime_ns
    told = config.model_copy(update={"tile": load_config().tile, "extract": load_config().extract})
    (identity,) = Store(tmp_path / "store").encoder_ids()
    run_train(tmp_path / "store", cohort, run, told, encoder=identity, device="cpu")
    assert {name: (run / name).read_bytes() for name in names} == before
    assert (run / "config.yaml").read_bytes() == written
    assert weights.stat().st_mtime_ns == time


def test_a_run_that_trained_an_encoder_needs_pixels_alone(tmp_path: Path) -> None:
    store, cohort = textured_cohort.make_store(tmp_path)
    shares = ("train.test_share=0.15", "train.val_share=0.15")
    config = textured_cohort.recipe("train.epochs=1", *shares)
    run_train(store, cohort, tmp_path / "run", config, device="cpu")
    run_predict(store, tmp_path / "run", tmp_path / "before", device="cpu")
    run = move_away(tmp_path / "run", tmp_path / "model", store)
    outcome = predict_slides(
        source_slides([cohort]), run, tmp_path / "out", tmp_path / "out" / "store", device="cpu"
    )
    assert not outcome.failed
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "before")
    table = pd.read_csv(tmp_path / "out" / "predictions.csv", keep_default_na=False)
    judged = table["split"] != "train"
    assert (table["feature_shift"] == "").all()
    assert ((table["stain_shift"] != "") == judged).all()


def test_a_store_that_cannot_be_written_is_one_line(
    made: Made, again: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = shutil.copytree(again / "store", tmp_path / "store")
    shutil.rmtree(store / "slides" / "s001.zarr" / "graphs")

    def refused(self: Store) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Store, "lock", refused)
    with pytest.raises(StoreError, match=r"cannot be written here \(Permission denied\)"):
        predict_store(store, made.run, tmp_path / "out", device="cpu")
