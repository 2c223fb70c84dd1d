"""The recipe from a folder of slides and a CSV of labels to the table, on tiny phantoms."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pipelines.self_distillation import main
from wsikit.config import load_config, packaged_config
from wsikit.execution.pool import open_pool
from wsikit.methods import SELF_DISTILLATION
from wsikit.phantoms.cohort import cohort_specs
from wsikit.stages.progress import Silent
from wsikit.stages.run_folder import RunFolder
from wsikit.stages.study.phantom_slides import make_phantoms
from wsikit.types import Mpp, Size

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = (
    "tile.size=64", "tile.mpp=1.0", "tile.codec.name=zstd", "train.folds=2", "train.epochs=2",
    "train.bootstrap=100", "train.patch.encoder=timm:test_resnet", "train.patch.weights=random",
    "train.patch.input_px=32", "train.patch.batch_size=16", "train.patch.per_slide=16",
    "train.near_duplicates=allow", "extract.encoder=timm:test_resnet", "extract.weights=random",
)  # fmt: skip


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slides, their cohort CSV and their masks in one folder."""
    folder = tmp_path_factory.mktemp("phantoms")
    with open_pool(1) as pool:
        make_phantoms(cohort_specs(12, 0, Size(420, 330), Mpp(1.0, 1.0)), folder, pool, Silent())
    table = pd.read_csv(folder / "cohort.csv").drop(columns="site")
    table.to_csv(folder / "cohort.csv", index=False)
    return folder


def call(phantoms: Path, out: Path, *more: str) -> str:
    sets = [part for setting in SMALL for part in ("--set", setting)]
    main(
        [str(phantoms / "cohort.csv"), str(out), "--device", "cpu", "--workers", "1", *sets, *more]
    )
    return (out / "table.md").read_text()


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_from_slides_and_labels_to_the_table(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = call(phantoms, tmp_path, "--truth", str(phantoms / "truth"))
    lines = table.splitlines()
    assert lines[0].startswith("| fold | auc |")
    assert [line.split(" | ")[0] for line in lines[2:5]] == ["| 0", "| 1", "| all"]
    assert "patch AUC on held-out slides: 0." in table
    assert capsys.readouterr().out.endswith(table)
    run = RunFolder(tmp_path / "run")
    assert run.config().tile.filters == ("entropy",)
    assert set(run.predictions()["split"]) == {"test"}
    assert len(list(run.heatmaps.glob("*.png"))) == 12
    assert "self_distillation" in run.report_html.read_text()
    before = files(tmp_path)
    assert call(phantoms, tmp_path, "--truth", str(phantoms / "truth")) == table
    after = files(tmp_path)
    assert set(before) == set(after)
    for name in ("run/predictions.csv", "run/metrics.json", "run/folds/1/head.safetensors"):
        assert before[name] == after[name]


def test_on_features(phantoms: Path, tmp_path: Path) -> None:
    assert call(phantoms, tmp_path, "--features").count("\n") == 5
    assert RunFolder(tmp_path / "run").config().train.method == "self_distillation_features"


def test_the_packaged_recipe_has_the_sources_settings() -> None:
    recipe = load_config(packaged_config("self_distillation"))
    assert recipe.tile.size == 512
    assert recipe.tile.filters == ("entropy",)
    assert recipe.tile.entropy.cut == 15
    assert recipe.train.patch.batch_size == 64
    assert recipe.train.patch.encoder == "resnet18"
    assert recipe.train.weight_decay == 0
    views = ("flip", "jitter", "grey", "crop")
    assert [recipe.train.head[name] for name in views] == [0.5, 0.5, 0.2, 0.8]
    defaults = SELF_DISTILLATION.options()
    del defaults["bank"]
    assert recipe.train.head == defaults


def test_a_mistake_is_one_line(phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^error: .*has no option 'shares'"):
        call(phantoms, tmp_path, "--set", "train.head={shares: 1}")
