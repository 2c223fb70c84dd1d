"""What training does about splits: copies, sites, and the split of another run; and its curves."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.stages.textured_cohort import make_store, recipe
from wsikit.config import ExtractConfig
from wsikit.errors import CohortError, StoreError, UsageError
from wsikit.execution.pool import open_pool
from wsikit.stages.cohort import source_slides
from wsikit.stages.extraction.extract import run_extract
from wsikit.stages.progress import Silent
from wsikit.stages.run_folder import RunFolder
from wsikit.stages.tiling.tile import run_tile
from wsikit.stages.training.near_duplicates import find_alike
from wsikit.stages.training.train import run_train
from wsikit.store.store import Store

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = ("train.method=abmil", "train.epochs=2", "train.lr=1e-2")


class Made(NamedTuple):
    store: Path
    cohort: Path
    encoder: str


class Said(Silent):
    """Keep what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Thirteen slides, and a mirrored copy of p3s0 that says it is somebody else's."""
    folder = tmp_path_factory.mktemp("splits")
    store, cohort = make_store(folder)
    original = Image.open(cohort.parent / "p3s0.png")
    copy = Image.fromarray(np.ascontiguousarray(np.asarray(original)[:, ::-1] // 2))
    copy.save(cohort.parent / "copy.jpg", quality=70)
    table = pd.read_csv(cohort)
    row = {"slide": "copy.jpg", "slide_id": "copy", "patient_id": "somebody", "label": "fine"}
    table = pd.concat([table, pd.DataFrame([row | {"mpp": 1.0}])], ignore_index=True)
    table["site"] = [("north", "south", "east")[n // 2 % 3] for n in _patients(table)]
    with_copy = cohort.with_name("with_copy.csv")
    table.to_csv(with_copy, index=False)
    with open_pool(1) as pool:
        run_tile(source_slides([with_copy]), store, recipe().tile, pool=pool)
    config = ExtractConfig(encoder="timm:test_resnet", weights="random")
    encoder, outcome = run_extract(store, config, device="cpu")
    assert not outcome.failed
    return Made(store, with_copy, encoder)


def _patients(table: pd.DataFrame) -> list[int]:
    return [int(p.removeprefix("patient-")) if "-" in p else 0 for p in table["patient_id"]]


def train(made: Made, out: Path, labels: Path, *more: str, **other):
    return run_train(
        made.store, labels, out, recipe(*SETTINGS, *more), encoder=made.encoder, device="cpu",
        **other,
    )  # fmt: skip


def cohort(made: Made, path: Path, **columns) -> Path:
    """Write the cohort with other columns; None drops one."""
    table = pd.read_csv(made.cohort, dtype=str)
    for name, values in columns.items():
        table = table.drop(columns=name) if values is None else table.assign(**{name: values})
    table.to_csv(path, index=False)
    return path


def without_copy(made: Made, path: Path, **columns) -> Path:
    table = pd.read_csv(cohort(made, path, **columns), dtype=str)
    table[table["slide_id"] != "copy"].to_csv(path, index=False)
    return path


def sides(made: Made, one: str, other: str, ids: list[str]) -> list[str]:
    """A split in which p3s0 and its copy stand on two sides, all classes being everywhere."""
    table = pd.read_csv(made.cohort, dtype=str)
    order = {p: n // 2 for n, p in enumerate(dict.fromkeys(table["patient_id"]))}
    given = [("train", "val", "test")[order[p] % 3] for p in table["patient_id"]]
    where = dict(zip(table["slide_id"], given, strict=True)) | {"p3s0": one, "copy": other}
    return [where[i] for i in ids]


@pytest.mark.parametrize(("one", "other"), [("train", "test"), ("val", "train"), ("test", "val")])
def test_a_copy_on_another_side_fails_the_run_and_both_are_named(
    made: Made, tmp_path: Path, one: str, other: str
) -> None:
    ids = list(pd.read_csv(made.cohort, dtype=str)["slide_id"])
    labels = cohort(made, tmp_path / "a.csv", split=sides(made, one, other, ids), site=None)
    said = Said()
    with pytest.raises(
        CohortError,
        match=r"'copy' and 'p3s0' look like copies .*likeness 0\.\d\d.*give both one patient_id, "
        r"or leave one out; if they are two slides, --set train.near_duplicates=allow",
    ):
        train(made, tmp_path / "run", labels, progress=said)
    assert any("look like copies, on two sides: 'copy' and 'p3s0'" in line for line in said.lines)
    assert not (tmp_path / "run").exists()


def test_a_copy_may_be_allowed_or_be_the_same_patients(made: Made, tmp_path: Path) -> None:
    ids = list(pd.read_csv(made.cohort, dtype=str)["slide_id"])
    labels = cohort(made, tmp_path / "a.csv", split=sides(made, "train", "test", ids), site=None)
    said = Said()
    train(
        made, tmp_path / "allowed", labels, "train.near_duplicates=allow", "train.epochs=1",
        progress=said,
    )  # fmt: skip
    assert any("look like copies" in line for line in said.lines)
    patients = [
        "patient-3" if i == "copy" else p
        for i, p in pd.read_csv(made.cohort, dtype=str)[["slide_id", "patient_id"]].to_numpy()
    ]
    said = Said()
    labels = cohort(made, tmp_path / "b.csv", patient_id=patients, site=None)
    train(made, tmp_path / "same", labels, "train.epochs=1", progress=said)
    assert not any("look like copies" in line for line in said.lines)


def test_only_the_copy_is_found_among_all_pairs(made: Made) -> None:
    store = Store(made.store)
    pairs, unseen = find_alike(store, store.slide_ids())
    assert [(pair.one, pair.other) for pair in pairs] == [("copy", "p3s0")]
    assert unseen == []


def test_a_slide_without_pixels_is_said_not_to_be_looked_at(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_pixels = property(lambda self: self.slide_id != "p0s0")
    monkeypatch.setattr("wsikit.store.stored_slide.StoredSlide.has_pixels", has_pixels)
    labels = without_copy(made, tmp_path / "a.csv", site=None)
    said = Said()
    train(made, tmp_path / "run", labels, "train.epochs=1", progress=said)
    assert "not looked at for copies (no thumbnail of a slide to tell by): p0s0" in said.lines


def test_sites_stay_apart_and_that_is_said(made: Made, tmp_path: Path) -> None:
    labels = without_copy(made, tmp_path / "a.csv")
    said = Said()
    train(made, tmp_path / "run", labels, "train.folds=3", "train.epochs=1", progress=said)
    assert "sites are kept apart: none is in test and in training too" in said.lines
    site = pd.read_csv(labels, dtype=str).set_index("slide_id")["site"]
    splits = RunFolder(tmp_path / "run").splits().assign(site=lambda t: t["slide_id"].map(site))
    for _, part in splits.groupby("fold"):
        held_out = set(part.loc[part["split"] == "test", "site"])
        assert len(held_out) == 1
        assert not held_out & set(part.loc[part["split"] != "test", "site"])
    with pytest.raises(StoreError, match="another recipe"):  # sites are part of what a run is
        train(made, tmp_path / "run", without_copy(made, labels, site="x"), "train.folds=3",
              "train.epochs=1")  # fmt: skip


def test_the_split_of_another_run_is_used_again_exactly(made: Made, tmp_path: Path) -> None:
    labels = without_copy(made, tmp_path / "a.csv", site=None)
    train(made, tmp_path / "one", labels, "train.folds=2", "train.epochs=1", "seed=3")
    train(made, tmp_path / "two", labels, split=tmp_path / "one")
    one, two = (tmp_path / name / "split.csv" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert RunFolder(tmp_path / "two").config().train.folds == 2
    done = train(made, tmp_path / "two", labels, split=one)  # begun again, it is the same run
    assert done.skipped
    with pytest.raises(StoreError, match="another recipe"):
        train(made, tmp_path / "two", labels, "train.folds=2")
    with pytest.raises(UsageError, match=r"has 2 folds, and folds is 3: leave --folds out, and"):
        train(made, tmp_path / "no", labels, "train.folds=3", split=one)
    with pytest.raises(CohortError, match="slides 'copy' of the cohort have no place"):
        train(made, tmp_path / "no", cohort(made, tmp_path / "b.csv", site=None), split=one)
    with pytest.raises(UsageError, match="no split there"):
        train(made, tmp_path / "no", labels, split=tmp_path / "none.csv")
    assert not (tmp_path / "no").exists()


def test_curves_lie_beside_the_run_and_go_with_it(made: Made, tmp_path: Path) -> None:
    labels = without_copy(made, tmp_path / "a.csv", site=None)
    train(made, tmp_path / "run", labels, "train.folds=2")
    for fold in (0, 1):
        events = EventAccumulator(str(tmp_path / "run" / "logs" / f"fold{fold}"))
        events.Reload()
        found = [(e.step, e.value) for e in events.Scalars("loss/val")]
        history = pd.read_csv(tmp_path / "run" / "folds" / str(fold) / "history.csv")
        assert found == [(n + 1, pytest.approx(v)) for n, v in enumerate(history["val_loss"])]
    train(made, tmp_path / "run", labels, "train.epochs=1", overwrite=True)
    assert {p.name for p in (tmp_path / "run" / "logs").iterdir()} == {"fold0"}


def test_precision_reaches_the_fit(made: Made, tmp_path: Path) -> None:
    labels = without_copy(made, tmp_path / "a.csv", site=None)
    weights = {}
    for precision in ("32-true", "bf16-mixed"):
        out = tmp_path / precision
        train(made, out, labels, "train.epochs=1", f"train.precision={precision}")
        weights[precision] = (out / "folds" / "0" / "head.safetensors").read_bytes()
        assert f'"precision": "{precision}"' in (out / "folds" / "0" / "fit.json").read_text()
    assert weights["32-true"] != weights["bf16-mixed"]
    with pytest.raises(UsageError, match="16-mixed needs a GPU"):
        train(made, tmp_path / "half", labels, "train.precision=16-mixed")


def test_a_method_that_cannot_share_its_work_says_so(made: Made, tmp_path: Path) -> None:
    for method in ("am-softmax", "self_distillation_features"):
        with pytest.raises(UsageError, match=f"'{method}' trains on one device"):
            train(made, tmp_path / "run", made.cohort, f"train.method={method}", devices=2)
    assert not (tmp_path / "run").exists()
