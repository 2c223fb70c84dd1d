"""Both mammography recipes, from CBIS-DDSM's own layout to the tables, in their small forms."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pipelines.shared.mammography import Study, patient_split, run_from_command_line
from wsikit.errors import CohortError
from wsikit.phantoms.mammogram_sets import write_cbis_ddsm_tree
from wsikit.stages.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
COLUMNS = ["accuracy", "sensitivity", "specificity", "auc"]


def run(recipe: str, data: Path, out: Path, *more: str) -> str:
    command = [
        sys.executable, str(ROOT / "pipelines" / f"{recipe}.py"), str(data), str(out), "--small",
        "--device", "cpu", "--set", "train.epochs=1", *more,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=500, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cbis_ddsm_tree(tmp_path_factory.mktemp("cbis"), patients=9)


@pytest.fixture(scope="module")
def patches_first(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("d")
    return out, run("resnet50_cbam", data, out)


def test_both_tables_have_a_row_a_network_and_start(patches_first: tuple[Path, str]) -> None:
    out, printed = patches_first
    first, second = (pd.read_csv(out / f"table{n}.csv") for n in (1, 2))
    assert list(first["network"]) == ["small ResNet", "small ResNet + CBAM"]
    assert list(first["start"]) == ["random weights"] * 2
    assert list(second["start"]) == ["random weights", "patches P"] * 2
    head = (out / "table1.md").read_text().splitlines()[0]
    held_out = RunFolder(out / "patches-cbam-test_resnet").predictions()
    assert f"{8 * len(held_out)} held-out pictures of {len(held_out)} lesions" in head
    assert "seed 0" in head
    assert "Small form" in head
    for table in (first, second):
        for name in COLUMNS:
            assert table[name].between(0, 1).all()
            low, high = table[f"{name}_low"].dropna(), table[f"{name}_high"].dropna()
            assert (low <= table.loc[low.index, name] + 1e-9).all()
            assert (high >= table.loc[high.index, name] - 1e-9).all()
    assert (out / "table1.md").read_text() in printed
    row = re.search(r"^\| small ResNet \| random weights \| (\d\.\d{3})", printed, re.M)
    assert row is not None
    assert float(row[1]) == pytest.approx(first["accuracy"][0], abs=5e-4)


def test_no_patient_is_on_two_sides_of_either_stage(patches_first: tuple[Path, str]) -> None:
    out, _ = patches_first
    both = pd.concat(
        [RunFolder(out / f"{stage}-cbam-test_resnet").splits()
         for stage in ("patches", "whole", "whole-from-patches")]
    )  # fmt: skip
    assert (both.groupby("patient_id")["split"].nunique() == 1).all()
    assert set(both["split"]) == {"train", "val", "test"}
    patches = RunFolder(out / "patches-cbam-test_resnet")
    start = RunFolder(out / "whole-from-patches-cbam-test_resnet")
    assert start.facts().encoder_id != RunFolder(out / "whole-cbam-test_resnet").facts().encoder_id
    assert "encoder-file-" in start.facts().encoder_id or patches.path.name in (
        start.facts().encoder_id
    )


def test_every_held_out_mammogram_has_its_grad_cam(patches_first: tuple[Path, str]) -> None:
    out, _ = patches_first
    held_out = RunFolder(out / "whole-from-patches-cbam-test_resnet").predictions()["slide_id"]
    assert {p.stem for p in (out / "grad-cam").iterdir()} == {f"{i}-0" for i in held_out}


def test_the_rois_recipe_ends_in_its_tables(data: Path, tmp_path: Path) -> None:
    printed = run("xception_c", data, tmp_path)
    first, second = (pd.read_csv(tmp_path / f"table{n}.csv") for n in (1, 2))
    assert list(first["network"]) == ["small ResNet", "small Xception", "small Xception-C"]
    counts = second.set_index("network")["parameters"]
    assert counts["small Xception"] == counts["small Xception-A"]
    assert counts["small Xception-B"] == counts["small Xception-C"] > counts["small Xception"]
    confusion = (tmp_path / "confusion.md").read_text()
    assert confusion in printed
    held_out = RunFolder(tmp_path / "xception_small_c-classifier").predictions()
    assert sum(map(int, re.findall(r"\| (\d+)", confusion))) == len(held_out)
    assert (tmp_path / "curves.png").stat().st_size > 5000
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.glob("**/*.safetensors")}
    again = run("xception_c", data, tmp_path)
    assert again == printed
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps


def test_every_side_has_patients_of_every_kind_that_is_asked_about() -> None:
    rois = pd.DataFrame({
        "patient_id": [f"p{n}" for n in range(12)], "label": ["benign", "malignant"] * 6,
    })  # fmt: skip
    whole = pd.DataFrame({
        "patient_id": [f"p{n}" for n in range(24)], "label": ["abnormal"] * 18 + ["normal"] * 6,
    })  # fmt: skip
    for seed in range(5):
        split = patient_split([whole, rois], (0.6, 0.2, 0.2), seed)
        for cohort in (whole, rois):
            sides = cohort.assign(side=cohort["patient_id"].map(split)).groupby("label")["side"]
            assert (sides.nunique() == 3).all()


def test_a_recipe_that_cannot_go_on_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def recipe(study: Study, small: bool, seed: int) -> list[str]:
        study.take("rois", 48 if small else None, seed)
        return ["never"]

    monkeypatch.setattr(sys, "argv", ["recipe", str(tmp_path), str(tmp_path / "out"), "--small"])
    with pytest.raises(SystemExit) as raised:
        run_from_command_line("What it does.", recipe)
    said = str(raised.value)
    assert said.startswith(f"error: {tmp_path}: holds no mass_case_description_*_set.csv: put")
    assert "\n" not in said
    assert "never" not in capsys.readouterr().out


def test_one_class_or_too_few_patients_are_one_line() -> None:
    table = pd.DataFrame({
        "patient_id": ["p0", "p1", "p2", "p3"], "label": ["benign", "malignant"] * 2,
    })  # fmt: skip
    for rows, words in (
        (table, "2 negative patients cannot be on three sides: take more data"),
        (table[:2], "1 negative patient cannot be on three sides"),
        (table[::2], "every slide is 'benign': give data of two classes"),
        (table[:0], "no slide could be taken"),
    ):
        with pytest.raises(CohortError, match=words):
            patient_split([rows], (0.6, 0.2, 0.2), 0)
