"""`wsikit ingest` of data sets, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.conftest import Wsikit
from wsikit.cli.app import make_app
from wsikit.phantoms.histology_pictures import write_breakhis_tree
from wsikit.phantoms.mammogram_sets import write_cbis_ddsm_tree
from wsikit.types import Size


def test_breakhis_prints_the_cohort_and_lists_what_was_left_out(tmp_path: Path) -> None:
    tree = write_breakhis_tree(tmp_path, 2, 1, (100,), Size(35, 23))
    (tree / "notes.txt").write_text("x")
    call = ["ingest", "breakhis", str(tree), "-o", str(tmp_path / "store"), "-j", "1"]
    for words in ("2 done", "2 already done"):
        result = CliRunner().invoke(make_app(), call)
        assert result.exit_code == 0, result.output
        assert result.stdout.strip() == str(tmp_path / "store.cohort.csv")
        assert "left out: notes.txt: not a file name of BreakHis" in result.stderr
        assert words in result.stderr


def test_one_class_and_one_patient_are_told(tmp_path: Path) -> None:
    tree = write_breakhis_tree(tmp_path, 1, 1, (100,), Size(35, 23))
    result = CliRunner().invoke(
        make_app(), ["ingest", "breakhis", str(tree), "-o", str(tmp_path / "store")]
    )
    assert "every slide is 'benign': training needs two classes" in result.stderr
    assert "all slides are of one patient" in result.stderr


def test_mammograms_of_one_class_or_patient_are_told_and_refused_by_training(
    wsikit: Wsikit, tmp_path: Path
) -> None:
    store, cohort = tmp_path / "store", tmp_path / "store.cohort.csv"
    tree = write_cbis_ddsm_tree(tmp_path / "cbis", 1)
    taken = wsikit("ingest", "cbis-ddsm", tree, "-o", store, "--side", "48", "-j", "1")
    assert taken.code == 0, taken.err
    assert "every slide is 'benign': training needs two classes" in taken.err
    assert "all slides are of one patient: training needs two or more" in taken.err
    ids = [line.split(",")[0] for line in cohort.read_text().splitlines()[1:]]
    assert len(ids) == 3
    for patients, labels, words in (
        ("ppp", "bbb", "error: all labelled slides are 'b': give slides of two classes or more"),
        ("ppp", "bmb", "error: class 'b' has 1 patient, and folds=1 needs 3: label more patients"),
    ):
        rows = [",".join(row) for row in zip(ids, patients, labels, strict=True)]
        cohort.write_text("\n".join(["slide_id,patient_id,label", *rows, ""]))
        answer = wsikit(
            "train", store, "--labels", cohort, "-o", tmp_path / "run", "--device", "cpu",
            "--method", "xception_c", "--set", "train.patch.encoder=timm:test_resnet",
            "--set", "train.patch.weights=random",
        )  # fmt: skip
        assert answer.code == 2
        (line,) = [line for line in answer.err.splitlines() if line.startswith("error:")]
        assert line.startswith(words)
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["breakhis", "cbis-ddsm", "mini-mias", "pictures"])
def test_help_teaches_by_example(name: str) -> None:
    result = CliRunner().invoke(make_app(), ["ingest", name, "--help"])
    assert result.exit_code == 0
    assert f"wsikit ingest {name}" in result.output
    if name != "pictures":
        assert "LEAKY" in result.output
