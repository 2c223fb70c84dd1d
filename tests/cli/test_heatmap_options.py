"""`wsikit heatmap`: an option that nothing asked for would read is one line, before all else."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Wsikit


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--model", "r"), "--model is read by grad-cam and --stride alone"),
        (("--weights", "w"), "--weights is read by --stride alone"),
        (("--weights", "w", "--format", "grad-cam"), "--weights is read by --stride alone"),
        (("--style", "both", "--format", "png"), "--style is read by geojson alone"),
        (("--thresholds", "0.5", "--format", "html"), "--thresholds is read by geojson alone"),
        (("--origin", "slide", "--format", "png"), "--origin is read by geojson and --truth alone"),
        (("--truth", "t", "--format", "geojson"), "--truth is read by png, html and html-file"),
        (("--slides", "s", "--format", "png"), "--slides is read by sheet, ome-tiff, html"),
        (("--run", "other", "--format", "png"), "a second --run is read by html and html-file"),
        (("--single-file", "--format", "png"), "--single-file speaks of the HTML page"),
        (("--region", "x"), "--region speaks of the areas in --truth"),
    ],
)
def test_an_option_that_nothing_reads_is_refused(
    wsikit: Wsikit, given: tuple[str, ...], said: str
) -> None:
    answer = wsikit("heatmap", "store", "--run", "run", *given)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    "given",
    [
        ("--model", "r", "--format", "grad-cam"),
        ("--weights", "w", "--stride", "64"),
        ("--style", "both"),
        ("--origin", "slide", "--truth", "t", "--format", "png"),
        ("--slides", "s", "--format", "html"),
        ("--slides", "s", "--stride", "64"),
        ("--run", "other", "--single-file", "--format", "html"),
    ],
)
def test_an_option_that_something_reads_is_taken(wsikit: Wsikit, given: tuple[str, ...]) -> None:
    answer = wsikit("heatmap", "store", "--run", "run", *given)
    assert "store: no store here" in answer.err
