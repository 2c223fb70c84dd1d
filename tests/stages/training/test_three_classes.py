"""Three labels, from features to numbers and predictions; held-out labels choose nothing."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tests.stages.textured_cohort import make_store, recipe
from wsikit.config import ExtractConfig
from wsikit.stages.evaluation.evaluate import run_evaluate
from wsikit.stages.extraction.extract import run_extract
from wsikit.stages.prediction.predict import run_predict
from wsikit.stages.progress import Silent
from wsikit.stages.run_folder import RunFolder
from wsikit.stages.training.train import run_train

pytestmark = pytest.mark.usefixtures("one_thread")

LABELS = ("benign", "in situ", "invasive")
SETTINGS = ("train.method=abmil", "train.epochs=3", "train.patience=3", "train.lr=1e-2")


class Made(NamedTuple):
    store: Path
    cohort: Path
    encoder: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Twelve patients of three labels in turn, with a side for each."""
    store, cohort = make_store(tmp_path_factory.mktemp("three"))
    table = pd.read_csv(cohort)
    number = table["patient_id"].str.partition("-")[2].astype(int)
    table["label"] = [LABELS[n % 3] for n in number]
    table["split"] = [("train", "train", "val", "test")[n // 3] for n in number]
    table.to_csv(cohort, index=False)
    config = ExtractConfig(encoder="timm:test_resnet", weights="random")
    encoder, outcome = run_extract(store, config, device="cpu")
    assert not outcome.failed
    return Made(store, cohort, encoder)


def train(made: Made, out: Path, labels: Path, *more: str, **other):
    return run_train(
        made.store, labels, out, recipe(*SETTINGS, *more), encoder=made.encoder, device="cpu",
        **other,
    )  # fmt: skip


def changed(made: Made, path: Path, side: str | None) -> Path:
    """Write the cohort with the labels of one side turned round, or without its sides."""
    table = pd.read_csv(made.cohort)
    if side is None:
        table = table.drop(columns="split")
    else:
        turn = dict(zip(LABELS, LABELS[1:] + LABELS[:1], strict=True))
        table["label"] = table["label"].map(turn).where(table["split"] == side, table["label"])
    table["slide"] = [str(made.cohort.parent / name) for name in table["slide"]]
    table.to_csv(path, index=False)
    return path


class Killed(BaseException):
    """Stands for a kill."""


class KillIn(Silent):
    """Die when some epoch is told of."""

    def __init__(self, words: str) -> None:
        self.words = words

    def advance(self, label: str, units: int = 1) -> None:
        if self.words in label:
            raise Killed


def test_cross_validated_killed_and_measured(made: Made, tmp_path: Path) -> None:
    labels = changed(made, tmp_path / "labels.csv", None)
    train(made, tmp_path / "whole", labels, "train.folds=2")
    for words in ("fold 0, epoch 2", "fold 1, epoch 1"):
        with pytest.raises(Killed):
            train(made, tmp_path / "cut", labels, "train.folds=2", progress=KillIn(words))
    train(made, tmp_path / "cut", labels, "train.folds=2")
    for name in ("predictions.csv", "folds/0/head.safetensors", "folds/1/head.safetensors"):
        one, other = (tmp_path / run / name for run in ("whole", "cut"))
        assert one.read_bytes() == other.read_bytes(), name
    run = RunFolder(tmp_path / "cut")
    found = run_evaluate(run.path)
    table = run.predictions()
    columns = [f"prob_{label}" for label in LABELS]
    assert set(table["split"]) == {"test"}
    np.testing.assert_allclose(table[columns].sum(axis=1), 1, atol=1e-6)
    truth = [LABELS.index(label) for label in table["label"]]
    expected = roc_auc_score(truth, table[columns].to_numpy(float), multi_class="ovr")
    assert found.pooled["auc"].value == pytest.approx(expected)
    assert found.about["positive"] is None
    before = table.set_index("slide_id")[columns].astype(float)
    assert not run_predict(made.store, run.path, device="cpu").failed
    after = run.predictions().set_index("slide_id")[columns].astype(float)
    pd.testing.assert_frame_equal(before, after, atol=1e-6)


def test_held_out_labels_choose_neither_weights_nor_epoch(made: Made, tmp_path: Path) -> None:
    """Turned round, those of test change nothing that is learnt; those of validation may."""
    files = {}
    for side in ("none", "test", "val"):
        labels = changed(made, tmp_path / f"{side}.csv", side)
        train(made, tmp_path / side, labels)
        fold = tmp_path / side / "folds" / "0"
        files[side] = [(fold / name).read_bytes() for name in ("head.safetensors", "history.csv")]
        probabilities = RunFolder(tmp_path / side).predictions().filter(like="prob_")
        files[side].append(probabilities.to_csv().encode())
    assert files["test"] == files["none"]
    assert files["val"][1] != files["none"][1]
