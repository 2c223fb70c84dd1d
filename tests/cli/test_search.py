"""`wsikit search`, and what it says; `wsikit train --devices`, from the command line to the run."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from tests.cli.conftest import Wsikit, run_process
from tests.stages.textured_cohort import make_store
from wsikit.config import ExtractConfig
from wsikit.stages.extraction.extract import run_extract


class Made(NamedTuple):
    store: Path
    cohort: Path
    encoder: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    store, cohort = make_store(tmp_path_factory.mktemp("cli"))
    config = ExtractConfig(encoder="timm:test_resnet", weights="random")
    encoder, _ = run_extract(store, config, device="cpu")
    return Made(store, cohort, encoder)


def test_search_then_train_as_it_says(wsikit: Wsikit, made: Made, tmp_path: Path) -> None:
    call = (
        "search", made.store, "--labels", made.cohort, "--method", "abmil", "--device", "cpu",
        "--encoder", made.encoder, "--epochs", 2, "-o", tmp_path / "best",
    )  # fmt: skip
    answer = wsikit(*call, "--trials", 2)
    assert answer.code == 0, answer.err
    assert [line.split(":")[0] for line in answer.out.splitlines()] == [
        "train.lr", "train.weight_decay", "train.accumulate",
    ]  # fmt: skip
    assert "search 2/2  trial 1: val_loss" in answer.err
    words = answer.err.splitlines()[-1].split()
    assert words[:2] == ["wsikit", "train"]
    words[-1] = str(tmp_path / "run")
    trained = wsikit(*words[1:], "--set", "train.bootstrap=100", "--device", "cpu")
    assert trained.code == 0, trained.err
    again = wsikit(*call, "--trials", 2)
    assert "search: 0 to do" in again.err
    assert again.out == answer.out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--metric", "auc"], "--metric auc: did you mean 'val_auc'?"),
        (["--space", "none.yaml"], "none.yaml: cannot be read"),
        (["--fold", "1"], "there is no fold 1"),
        (["--method", "am-softmax"], "trains an encoder"),
    ],
)
def test_a_wrong_search_is_one_line(
    wsikit: Wsikit, made: Made, tmp_path: Path, more: list[str], message: str
) -> None:
    call = (
        "search", made.store, "--labels", made.cohort, "--encoder", made.encoder, "-o",
        tmp_path / "best", "--method", "abmil",
    )  # fmt: skip
    answer = wsikit(*call, *more)
    assert answer.code == 2
    assert message in answer.err.splitlines()[-1]


@pytest.mark.slow
def test_two_devices_predict_what_one_does(made: Made, tmp_path: Path) -> None:
    tables = []
    for devices in (1, 2):
        answer = run_process(
            "train", made.store, "--labels", made.cohort, "--method", "abmil", "--device", "cpu",
            "--encoder", made.encoder, "--epochs", 3, "--devices", devices,
            "--set", "train.bootstrap=100", "-o", tmp_path / f"run{devices}",
        )  # fmt: skip
        assert answer.code == 0, answer.err
        assert "Warning" not in answer.err
        assert "train 3/3  fold 0" in answer.err
        tables.append(pd.read_csv(tmp_path / f"run{devices}" / "predictions.csv"))
    for name in ("prob_fine", "prob_coarse"):
        np.testing.assert_allclose(tables[0][name], tables[1][name], atol=2e-3)
    answer = run_process(
        "train", made.store, "--labels", made.cohort, "--method", "abmil", "--device", "cpu",
        "--encoder", made.encoder, "--devices", 3, "-o", tmp_path / "no",
    )  # fmt: skip
    assert answer.code == 2
    assert "train.accumulate is 4, which 3 devices cannot share" in answer.err
