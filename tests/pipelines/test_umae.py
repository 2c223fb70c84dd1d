"""The recipe of method C, from BreakHis as it is published to the tables, on small pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import f1_score, precision_score, recall_score

from pipelines.umae import METRICS, SOURCE, _measured, _resampled, main
from tests.pipelines.breakhis_tree import write_tree
from wsikit.config import load_config, packaged_config
from wsikit.methods.umae import ABLATION
from wsikit.stages.prediction.predict import run_predict
from wsikit.stages.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = (
    "pretrain.size=tiny", "pretrain.epochs=2", "train.epochs=2", "train.lr=1e-3",
    "train.test_share=0.25", "train.val_share=0.25", "train.bootstrap=100",
)  # fmt: skip


@pytest.fixture(scope="module")
def breakhis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("breakhis"), 4, 2)


def call(breakhis: Path, out: Path, *more: str) -> None:
    sets = [part for setting in SMALL for part in ("--set", setting)]
    main([str(breakhis), str(out), "--device", "cpu", *sets, *more])


def files(folder: Path) -> dict[str, bytes]:
    kept = (".csv", ".md", ".png", ".safetensors")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.suffix in kept
    }


@pytest.fixture(scope="module")
def made(breakhis: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    call(breakhis, out, "--variant", "scratch", "--variant", "UMAE")
    return out


def test_from_the_published_folder_to_the_tables(made: Path) -> None:
    table = pd.read_csv(made / "table.csv")
    assert list(table["magnification"].unique()) == list(SOURCE)
    assert list(table["metric"].unique()) == list(METRICS)
    lines = (made / "table.md").read_text().splitlines()
    assert "patients, 56/19/25" in lines[0]
    assert lines[4].startswith("| 40x | ")
    assert " 81.90 " in lines[4]
    ablation = pd.read_csv(made / "ablation.csv")
    assert list(ablation["variant"].unique()) == ["scratch", "UMAE"]
    losses = pd.read_csv(made / "losses.csv")
    assert list(losses["epoch"]) == [1, 2]
    for name, columns in (("restored-umae", 3), ("attention", 2)):
        with Image.open(made / "pictures" / f"{name}.png") as sheet:
            step = 180 // 56 * 56 + 56 + 4  # pictures of 56 px, enlarged beyond 180
            assert sheet.size == (64 + columns * step, 2 * 24 + 4 * step)


def test_no_patient_is_on_two_sides_of_any_magnification_or_of_the_pre_training(made: Path) -> None:
    split = pd.read_csv(made / "split-0.csv")
    split["patient"] = split["slide_id"].str.rsplit("-", n=1).str[0]
    assert (split.groupby("patient")["split"].nunique() == 1).all()
    for magnification in SOURCE:
        run = RunFolder(made / "umae" / "seed-0" / str(magnification))
        own = run.splits().set_index("slide_id")["split"]
        assert own.to_dict() == split.set_index("slide_id")["split"][own.index].to_dict()


def test_the_numbers_follow_from_the_scored_pictures(made: Path) -> None:
    scored = pd.read_csv(made / "umae" / "seed-0" / "100.csv")
    called = scored["prob"] >= 0.5
    table = pd.read_csv(made / "table.csv")
    own = table[table["magnification"] == 100].set_index("metric")["value"]
    assert own["top-1"] == pytest.approx((called == scored["label"]).mean())
    assert own["recall"] == pytest.approx(recall_score(scored["label"], called))


def test_its_runs_are_runs(made: Path, tmp_path: Path) -> None:
    run = made / "umae" / "seed-0" / "200"
    split = pd.read_csv(made / "split-0.csv")
    held_out = split.loc[
        (split["split"] == "test") & split["slide_id"].str.endswith("-200"), "slide_id"
    ]
    run_predict(made / "store", run, tmp_path, slide_ids=list(held_out), device="cpu")
    predicted = pd.read_csv(tmp_path / "predictions.csv").set_index("slide_id")
    scored = pd.read_csv(run.parent / "200.csv").groupby("slide_id")["prob"].mean()
    assert predicted["prob_malignant"].to_dict() == pytest.approx(scored.to_dict(), abs=1e-5)


def test_run_again_it_changes_nothing(breakhis: Path, made: Path) -> None:
    before = files(made)
    call(breakhis, made, "--variant", "scratch", "--variant", "UMAE")
    assert files(made) == before


def test_split_images_is_called_leaky(tmp_path: Path) -> None:
    few = write_tree(tmp_path / "few", 2, 10, (100,))
    call(few, tmp_path, "--split", "images", "--variant", "scratch",
         "--set", "train.epochs=1", "--set", "train.near_duplicates=allow")  # fmt: skip
    assert "LEAKY" in (tmp_path / "ablation.md").read_text()
    assert set(pd.read_csv(tmp_path / "ablation.csv")["split"]) == {"images"}
    provenance = json.loads((tmp_path / "store.cohort.json").read_text())
    assert "LEAKY" in provenance["split"]


def test_what_cannot_be_done_is_one_line(tmp_path: Path, capsys) -> None:
    for folder, says in ((tmp_path / "no", "no such folder"), (tmp_path, "nothing of breakhis")):
        with pytest.raises(SystemExit, match=says) as stopped:
            call(folder, tmp_path / "out")
        assert str(stopped.value).count("\n") == 0


def test_measures_are_sklearns_and_intervals_hold_them() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({
        "patient_id": [f"p{n // 5}" for n in range(60)],
        "label": rng.integers(2, size=60),
        "prob": rng.random(60),
    })  # fmt: skip
    called = table["prob"] >= 0.5
    found = _measured(table)
    assert found[1:4] == pytest.approx([
        score(table["label"], called) for score in (precision_score, recall_score, f1_score)
    ])  # fmt: skip
    drawn = _resampled([table, table], 200, 0)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    assert ((low < found) & (found < high)).all()
    assert np.isnan(_measured(table.assign(label=0))[[2, 4]]).all()


def test_the_packaged_recipe_has_the_sources_settings() -> None:
    recipe = load_config(packaged_config("umae"))
    pretrain = recipe.pretrain
    assert (pretrain.size, pretrain.omega, pretrain.sigma) == ("base", 0.75, 0.25)
    assert (pretrain.lr, pretrain.weight_decay, pretrain.batch_size) == (1e-4, 0.05, 16)
    assert pretrain.step_epochs == 40
    assert (pretrain.unm, pretrain.ccp, pretrain.rca, pretrain.joint) == (True,) * 4
    assert recipe.train.method == "umae"
    shares = (recipe.train.test_share, (1 - recipe.train.test_share) * recipe.train.val_share)
    assert shares == pytest.approx((0.1, 0.1), abs=1e-4)
    assert len(ABLATION) == 10
