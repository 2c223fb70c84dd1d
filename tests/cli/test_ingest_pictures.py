"""`wsikit ingest` of data sets, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from wsikit.cli.app import make_app
from wsikit.phantoms.histology_pictures import write_breakhis_tree
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


@pytest.mark.parametrize("name", ["breakhis", "cbis-ddsm", "mini-mias", "pictures"])
def test_help_teaches_by_example(name: str) -> None:
    result = CliRunner().invoke(make_app(), ["ingest", name, "--help"])
    assert result.exit_code == 0
    assert f"wsikit ingest {name}" in result.output
    if name != "pictures":
        assert "LEAKY" in result.output
