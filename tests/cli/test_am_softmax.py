"""From labels to features by an encoder of one's own, as a user types it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tests.cli.conftest import Wsikit
from tests.stages.textured_cohort import SETTINGS, make_store

SETS = [
    part
    for setting in SETTINGS
    if not setting.startswith(("train.method", "train.patch.encoder", "train.epochs"))
    for part in ("--set", setting)
]


def test_train_extract_predict(wsikit: Wsikit, tmp_path: Path) -> None:
    store, cohort = make_store(tmp_path)
    run = tmp_path / "run"
    train = (
        "train", store, "--labels", cohort, "--method", "am-softmax", "-o", run, "--encoder",
        "timm:test_resnet", "--epochs", "2", "--device", "cpu", *SETS,
    )  # fmt: skip
    answer = wsikit(*train)
    assert answer.code == 0, answer.err
    assert f"wsikit extract STORE --encoder file:{run}" in answer.err
    assert "auc" in answer.out
    assert wsikit(*train).err.count("already done")
    answer = wsikit("extract", store, "--encoder", f"file:{run}", "--device", "cpu")
    assert answer.code == 0, answer.err
    answer = wsikit("predict", store, "--run", run, "-o", tmp_path / "out", "--device", "cpu")
    assert answer.code == 0, answer.err
    assert len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == 16


def test_mistakes_are_one_line(wsikit: Wsikit, tmp_path: Path) -> None:
    store, cohort = make_store(tmp_path)
    call = ("train", store, "--labels", cohort, "-o", tmp_path / "run", "--device", "cpu", *SETS)
    for more, words in (
        (("--method", "am-softmx"), "did you mean 'am-softmax'?"),
        (("--method", "am-softmax", "--encoder", "vgg61"), "did you mean 'vgg16'?"),
        (("--method", "am-softmax", "--set", "train.head={s: 0}"), "s is 0"),
        (("--method", "am-softmax", "--set", "train.patch.batchsize=3"), "'batch_size'"),
    ):
        answer = wsikit(*call, *more)
        assert answer.code == 2
        assert answer.err.strip().splitlines()[-1].startswith("error: ")
        assert words in answer.err.splitlines()[-1]
    assert not (tmp_path / "run").exists()
