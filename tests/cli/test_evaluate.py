"""`wsikit evaluate` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Wsikit
from tests.stages.made_run import make_run, two_classes


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    first = make_run(tmp_path / "one", two_classes(seed=0, patients=20, slides=2))
    slides = two_classes(seed=0, patients=20, slides=2)
    swapped = slides.assign(prob_normal=slides["prob_tumour"], prob_tumour=slides["prob_normal"])
    return first.path, make_run(tmp_path / "two", swapped).path


def test_numbers_and_the_page(wsikit: Wsikit, runs: tuple[Path, Path]) -> None:
    answer = wsikit("evaluate", runs[0])
    assert answer.code == 0
    assert answer.out.splitlines()[-1] == str(runs[0] / "report.html")
    assert "  auc                    0." in answer.out
    assert (runs[0] / "report.html").exists()


def test_json_is_one_document(wsikit: Wsikit, runs: tuple[Path, Path]) -> None:
    answer = wsikit("evaluate", *runs, "--json")
    assert answer.code == 0
    document = json.loads(answer.out)
    assert document == json.loads((runs[0] / "metrics.json").read_text())
    assert document["comparison"]["metrics"]["auc"]["difference"]["value"] < 0


def test_a_comparison_in_words(wsikit: Wsikit, runs: tuple[Path, Path]) -> None:
    answer = wsikit("evaluate", *runs)
    assert "two minus one, on 40 slides that both hold out:" in answer.out
    assert "DeLong, auc" in answer.out
    assert "takes slides as independent" in answer.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--region", "Tumor"), "--region without --truth"),
        (("--score", "attention"), "--score without --truth"),
        (("--truth", "."), "name it with --store"),
        (("--truth", ".", "--store", ".", "--min-inside", "0"), "--min-inside 0"),
        (("--truth", ".", "--store", "nowhere"), "nowhere"),
        (("other",), "no run here"),
    ],
)
def test_a_wrong_call_is_one_line(
    wsikit: Wsikit, runs: tuple[Path, Path], options: tuple[str, ...], message: str
) -> None:
    answer = wsikit("evaluate", runs[0], *options)
    assert answer.code == 2
    assert message in answer.err
    assert answer.err.count("\n") == 1
    assert not (runs[0] / "metrics.json").exists()
