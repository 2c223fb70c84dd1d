"""The search: what chooses, what does not, and that it goes on where it was killed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.stages.textured_cohort import make_store, recipe
from wsikit.config import Config, ExtractConfig, load_config, packaged_config
from wsikit.errors import ConfigError, StoreError, UsageError, WsikitError
from wsikit.methods import slide_method
from wsikit.stages.extraction.extract import run_extract
from wsikit.stages.progress import Silent
from wsikit.stages.search import search as search_file
from wsikit.stages.search.search import run_search
from wsikit.stages.search.space import Choice, Range, check_space, read_space, with_values
from wsikit.stages.training.train import run_train

pytestmark = pytest.mark.usefixtures("one_thread")

SPACE = {
    "train.lr": Range(1e-4, 1e-1, log=True),
    "train.accumulate": Range(1, 4),
    "train.head.embed": Choice((4, 8)),
}
SETTINGS = ("train.method=abmil", "train.epochs=2")
COLUMNS = ["trial", *SPACE, "val_loss", "val_auc", "best_epoch", "epochs_run", "failed"]


class Made(NamedTuple):
    store: Path
    cohort: Path
    encoder: str
    folder: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("search")
    store, cohort = make_store(folder)
    config = ExtractConfig(encoder="timm:test_resnet", weights="random")
    encoder, _ = run_extract(store, config, device="cpu")
    table = pd.read_csv(cohort)
    order = table["patient_id"].str.removeprefix("patient-").astype(int) // 2
    table["split"] = order.map(lambda n: ("train", "val", "test")[n % 3])
    table.to_csv(cohort.with_name("split.csv"), index=False)
    return Made(store, cohort.with_name("split.csv"), encoder, folder)


def search(made: Made, out: Path, trials: int, *, labels: Path | None = None, **other):
    config = other.pop("config", None) or recipe(*SETTINGS)
    return run_search(
        made.store, labels or made.cohort, out, config, other.pop("space", SPACE),
        trials=trials, encoder=made.encoder, device="cpu", **other,
    )  # fmt: skip


@pytest.fixture(scope="module")
def done(made: Made) -> Path:
    search(made, made.folder / "done", 6)
    return made.folder / "done"


def test_what_a_search_leaves(made: Made, done: Path) -> None:
    table = pd.read_csv(done / "trials.csv")
    assert list(table.columns) == COLUMNS
    assert list(table["trial"]) == list(range(6))
    assert table["train.lr"].between(1e-4, 1e-1).all()
    assert table["train.lr"].nunique() == 6
    assert set(table["train.head.embed"]) <= {4, 8}
    assert {path.name for path in done.iterdir()} == {
        "best.yaml", "split.csv", "trials.csv", "search.json", "study.db", "logs", "trials",
    }  # fmt: skip
    assert not list((done / "trials").iterdir())
    assert json.loads((done / "search.json").read_text())["seed"] == 0
    best = table.loc[table["val_loss"].idxmin()]
    chosen = load_config(done / "best.yaml")
    assert chosen.train.lr == pytest.approx(best["train.lr"], rel=1e-5)
    assert chosen.train.head["embed"] == best["train.head.embed"]
    assert f"# Trial {int(best['trial'])} of 6" in (done / "best.yaml").read_text()


def test_training_with_the_best_recipe_gives_the_best_trial_again(
    made: Made, done: Path, tmp_path: Path
) -> None:
    run_train(
        made.store, made.cohort, tmp_path, load_config(done / "best.yaml"),
        split=done / "split.csv", device="cpu",
    )  # fmt: skip
    fit = json.loads((tmp_path / "folds" / "0" / "fit.json").read_text())
    table = pd.read_csv(done / "trials.csv")
    assert fit["val_loss"] == pytest.approx(table["val_loss"].min(), rel=1e-5)


def test_test_slides_choose_nothing(made: Made, done: Path, tmp_path: Path) -> None:
    """Turn every label of the test side over, and its features to noise: the same trials."""
    table = pd.read_csv(made.cohort)
    turned = table["label"].map({"fine": "coarse", "coarse": "fine"})
    table["label"] = turned.where(table["split"] == "test", table["label"])
    assert not table.equals(pd.read_csv(made.cohort))
    table.to_csv(made.cohort.with_name("nonsense.csv"), index=False)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        real = search_file.bag_loader
        patch.setattr(
            search_file, "bag_loader",
            lambda *a: lambda slide_id: (seen.append(slide_id), real(*a)(slide_id))[1],
        )  # fmt: skip
        search(made, tmp_path, 6, labels=made.cohort.with_name("nonsense.csv"))
    assert (tmp_path / "trials.csv").read_bytes() == (done / "trials.csv").read_bytes()
    assert (tmp_path / "best.yaml").read_bytes() == (done / "best.yaml").read_bytes()
    assert set(seen) == set(table.loc[table["split"] != "test", "slide_id"])
    # and it is no other search, so that more can be asked for with either
    ids = [json.loads((f / "search.json").read_text())["recipe_id"] for f in (tmp_path, done)]
    assert ids[0] == ids[1]


@pytest.mark.parametrize("where", ["epoch", "told"])
def test_killed_and_started_again_it_ends_in_the_same_trials(
    made: Made, done: Path, tmp_path: Path, where: str
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    search(made, tmp_path, 2)
    with pytest.MonkeyPatch.context() as patch:
        if where == "epoch":
            patch.setattr("wsikit.training.fits.curves.Curves.catch_up", kill)
        else:
            patch.setattr("wsikit.stages.search.study.SearchStudy.measured", kill)
        with pytest.raises(Killed):
            search(made, tmp_path, 6)
    search(made, tmp_path, 6)
    assert (tmp_path / "trials.csv").read_bytes() == (done / "trials.csv").read_bytes()
    assert (tmp_path / "best.yaml").read_bytes() == (done / "best.yaml").read_bytes()


def test_another_search_is_refused_and_done_trials_are_not_repeated(made: Made, done: Path) -> None:
    with pytest.raises(StoreError, match="holds another search"):
        search(made, done, 6, config=recipe(*SETTINGS, "seed=1"))
    with pytest.raises(StoreError, match="holds another search"):
        search(made, done, 6, metric="val_auc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_file._Task, "fit", lambda *_: pytest.fail("tried again"))
        best = search(made, done, 6)
    assert best.number == pd.read_csv(done / "trials.csv")["val_loss"].idxmin()


def test_a_trial_that_fails_is_named_and_the_rest_go_on(made: Made, tmp_path: Path) -> None:
    real, told = search_file._Task.fit, []

    class Watch(Silent):
        def advance(self, label: str, units: int = 1) -> None:
            told.append(label)

    def fit(self, number, values):
        if number == 1:
            raise WsikitError("the loss is not finite", "lower train.lr")
        return real(self, number, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_file._Task, "fit", fit)
        best = search(made, tmp_path, 3, progress=Watch())
        assert best.number != 1
        table = pd.read_csv(tmp_path / "trials.csv")
        assert list(table["failed"].fillna("")) == [
            "",
            "the loss is not finite: lower train.lr",
            "",
        ]
        assert "trial 1: FAILED" in told[1]
        patch.setattr(search_file._Task, "fit", lambda *_: fit(None, 1, {}))
        with pytest.raises(WsikitError, match="every trial failed; the first: the loss is not"):
            search(made, tmp_path / "none", 2)


def test_one_fold_of_several_has_to_be_named(made: Made, tmp_path: Path) -> None:
    table = pd.read_csv(made.cohort).drop(columns="split")
    table.to_csv(tmp_path / "cohort.csv", index=False)
    config = recipe(*SETTINGS, "train.folds=3")
    with pytest.raises(UsageError, match=r"3 folds.*--fold"):
        search(made, tmp_path / "a", 1, labels=tmp_path / "cohort.csv", config=config)
    with pytest.raises(UsageError, match="no fold 3: name one of 0 to 2"):
        search(made, tmp_path / "a", 1, labels=tmp_path / "cohort.csv", config=config, fold=3)
    search(made, tmp_path / "a", 1, labels=tmp_path / "cohort.csv", config=config, fold=2)
    split = pd.read_csv(tmp_path / "a" / "split.csv")
    assert set(split["fold"]) == {0}
    assert load_config(tmp_path / "a" / "best.yaml").train.folds == 1


def test_optuna_is_needed_and_only_here(made: Made, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"needs Optuna.*wsikit\[search\]"):
        search(made, tmp_path, 1)


def test_a_damaged_study(made: Made, done: Path, tmp_path: Path) -> None:
    (tmp_path / "search.json").write_bytes((done / "search.json").read_bytes())
    (tmp_path / "study.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match=r"study.db: cannot be used"):
        search(made, tmp_path, 1)
    (tmp_path / "search.json").write_text("[]")
    with pytest.raises(StoreError, match=r"search.json: not the description of a search"):
        search(made, tmp_path, 1)


def test_the_packaged_space_fits_every_method() -> None:
    space = read_space(packaged_config("search"))
    for name in ("abmil", "graph_transformer"):
        check_space(space, Config(), slide_method(name))


def test_values_reach_the_recipe() -> None:
    config = with_values(
        recipe("train.head={embed: 3}"), {"train.lr": 0.5, "train.head.attention": 2}
    )
    assert (config.train.lr, config.train.head) == (0.5, {"embed": 3, "attention": 2})
    assert config.tile == recipe().tile


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no search space"),
        ("[1]", "no search space"),
        ("a: [", "not valid YAML"),
        ("train.rl: [1]", "unknown key 'train.rl'"),
        ("tile.size: [1]", "unknown key 'tile.size'"),
        ("train.folds: [1, 5]", "'train.folds' cannot be searched"),
        ("train.method: [abmil]", "cannot be searched"),
        ("train.head: [1]", "no single option: write train.head.OPTION"),
        ("train.lr.x: [1]", "no single option"),
        ("train.lr: 3", "give {low: , high: }"),
        ("train.lr: []", "list numbers or words"),
        ("train.lr: [[1]]", "list numbers or words"),
        ("train.lr: {low: 1}", "high is None"),
        ("train.lr: {low: 1e-5, high: 1}", r"low is '1e-5'.*1.0e-5, not 1e-5"),
        ("train.lr: {low: 2, high: 1}", "2 to 1 is no range"),
        ("train.lr: {low: 0, high: 1, log: true}", "0 to 1 is no range"),
        ("train.lr: {low: .nan, high: 1}", "low is nan"),
        ("train.lr: {lo: 1, high: 2}", "unknown word 'lo': did you mean 'low'"),
    ],
)
def test_a_space_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_space(tmp_path / "space.yaml")


def test_what_a_space_may_not_ask(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'abmil' has no option 'embd'.*did you mean 'embed'"):
        search(made, tmp_path, 1, space={"train.head.embd": Choice((1,))})
    with pytest.raises(ConfigError, match=r"train.lr is 0"):
        search(made, tmp_path, 1, space={"train.lr": Range(0, 1)})
    weights = {"train.class_weights": Choice(("balanced", "none"))}
    with pytest.raises(ConfigError, match="--metric val_auc"):
        search(made, tmp_path, 1, space=weights)
    with pytest.raises(ConfigError, match="trains an encoder"):
        search(made, tmp_path, 1, config=recipe())
    assert not list(tmp_path.iterdir())
    best = search(made, tmp_path, 2, space=weights, metric="val_auc")
    assert best.val_auc == np.nanmax(pd.read_csv(tmp_path / "trials.csv")["val_auc"])
    assert yaml.safe_load((tmp_path / "best.yaml").read_text())["train"]["class_weights"]
