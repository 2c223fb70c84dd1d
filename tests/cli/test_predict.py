"""A model handed on and used as its receiver types it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cli.conftest import Wsikit
from tests.stages.model_cohort import move_away, recipe, save_picture, train, write_slides


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The slides, and a run that was moved away from its store."""
    folder = tmp_path_factory.mktemp("training")
    cohort = write_slides(folder / "slides", range(12))
    config = recipe("train.method=abmil", "train.folds=1", "extract.weights=random")
    run = train(folder, cohort, config, reference=None, graphs=False, name="run")
    return folder / "slides", move_away(run, folder / "model", folder / "store")


def test_from_another_folder_with_relative_paths(
    wsikit: Wsikit, model: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slides, run = model
    (tmp_path / "new").mkdir()
    for name in ("s001", "s002"):
        shutil.copy(slides / f"{name}.tiff", tmp_path / "new")
    save_picture(np.full((200, 200, 3), 150, np.uint8), tmp_path / "new" / "coarse.tiff", mpp=4.0)
    shutil.copytree(run, tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    call = ("predict", "new", "--run", "model", "-o", "out", "-j", 1, "--device", "cpu")
    answer = wsikit(*call)
    assert answer.code == 1
    assert "error: coarse: coarse.tiff: the slide has 4 x 4 um/px, coarser than" in answer.err
    assert answer.out == "out/predictions.csv\n"
    assert pd.read_csv("out/predictions.csv")["slide_id"].tolist() == ["s001", "s002"]
    before = (tmp_path / "out" / "predictions.csv").read_bytes()
    answer = wsikit(*call)
    assert answer.code == 1
    assert "s001: already done" in answer.err
    assert "extract" not in answer.err
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == before
    shutil.rmtree(tmp_path / "out" / "store" / "slides" / "s002.zarr" / "features")
    answer = wsikit("predict", "out/store", "--run", "model", "-o", "out2", "--device", "cpu")
    assert answer.code == 0, answer.err
    assert (tmp_path / "out2" / "predictions.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--slide", "s01"), "no slide 's01' was given: did you mean 's001'?"),
        (("--keep", "x.geojson"), "trained without regions to keep: leave --keep out"),
        (("--run", "nowhere"), "no run here"),
        (("--mpp", "fine"), "mpp 'fine' is not a number"),
    ],
)
def test_mistakes_are_one_line(
    wsikit: Wsikit, model: tuple[Path, Path], tmp_path: Path, more: tuple[str, ...], words: str
) -> None:
    slides, run = model
    answer = wsikit("predict", slides / "s001.tiff", "--run", run, "-o", tmp_path / "out", *more)
    assert answer.code == 2
    (line,) = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert words in line
    assert not (tmp_path / "out").exists()


def test_what_a_store_has_no_use_for(
    wsikit: Wsikit, model: tuple[Path, Path], tmp_path: Path
) -> None:
    slides, run = model
    one = ("predict", slides / "s001.tiff", "--run", run, "-o", tmp_path, "-j", 1)
    assert wsikit(*one, "--store", tmp_path / "store", "--device", "cpu").code == 0
    for more in (("--overwrite",), ("--mpp", "1"), ("--store", "x")):
        answer = wsikit("predict", tmp_path / "store", "--run", run, *more)
        assert answer.code == 2
        assert f"{more[0]} has no use with a store" in answer.err
    answer = wsikit("predict", tmp_path / "store", slides, "--run", run)
    assert answer.code == 2
    assert "a store stands alone" in answer.err
