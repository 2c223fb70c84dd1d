"""From a slide with one tumour square to the page in a browser: does a click find the square?

The slide is not square, its mpp along x differs from y, and it states bounds as an MRXS does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import tifffile
from playwright.sync_api import Browser, Page

from tests.heatmap.viewer.chromium import chromium, pixels, watched
from tests.stages.made_run import make_run, write_patches
from wsikit.cli.app import main
from wsikit.config import HeatmapConfig, load_config
from wsikit.slides import tiff
from wsikit.stages.cohort import source_slides
from wsikit.stages.heatmaps.heatmap import run_heatmap
from wsikit.stages.progress import Silent
from wsikit.stages.tiling.tile import run_tile
from wsikit.store.store import Store
from wsikit.types import Box, Mpp, Size

SLIDE_PX, MPP = Size(1900, 1100), Mpp(0.9, 0.85)
TUMOUR, DARK = Box(1210, 330, 80, 84), (70, 40, 120)
BOUNDS = {"bounds-x": 90, "bounds-y": 40, "bounds-width": 1500, "bounds-height": 900}
SETTINGS = (
    "tile.size=64", "tile.mpp=1.0", "tile.filters=[]", "tile.min_foreground=0",
    "tile.stain.method=none", "tile.codec.name=zstd",
)  # fmt: skip


class Made(NamedTuple):
    """A slide's folder, its store and two runs that score it: one as is, one turned round."""

    slides: Path
    store: Path
    runs: tuple[Path, Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("page")
    slides = folder / "slides"
    slides.mkdir()
    image = np.full((SLIDE_PX.height, SLIDE_PX.width, 3), (225, 190, 215), np.uint8)
    x, y, width, height = (int(number) for number in TUMOUR)
    image[y : y + height, x : x + width] = DARK
    tifffile.imwrite(
        slides / "ill.tiff", image, photometric="rgb", tile=(256, 256), metadata=None,
        compression="deflate", resolution=(1e4 / MPP.x, 1e4 / MPP.y), resolutionunit="CENTIMETER",
    )  # fmt: skip
    honest = tiff.safe_properties
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiff, "safe_properties", lambda raw, levels: honest(raw | BOUNDS, levels))
        tile = load_config(None, SETTINGS).tile
        assert run_tile(source_slides([slides]), folder / "store", tile).done == ["ill"]
    stored = Store(folder / "store").slide("ill")
    dark = [(stored.read_patch(i)[..., 1] < 115).mean() for i in range(stored.patch_count)]
    table = pd.DataFrame(
        {
            "slide_id": ["ill"], "patient_id": ["a"], "label": ["tumour"], "split": "test",
            "fold": 0, "prob_normal": [0.1], "prob_tumour": [0.9],
        }
    )  # fmt: skip
    score = np.array(dark, np.float32)
    for name, values in (("one", score), ("two", 1 - score)):
        run = make_run(folder / name, table)
        columns = {"score": values, "prob_tumour": values, "prob_normal": 1 - values}
        attrs = {"score": "probability of tumour", "kind": "probability"}
        corners = [(int(x), int(y)) for x, y in stored.patches.xy_l0]
        write_patches(run, "ill", corners, stored.grid.side_l0(), columns, attrs)
    return Made(slides, folder / "store", (folder / "one", folder / "two"))


def click_on_the_tumour(page: Page, html: Path) -> tuple[int, int]:
    """Open a page, click the dark square in the bare slide, and read the coordinates shown."""
    page.goto(html.as_uri() + "#scores=off")
    page.wait_for_selector("body[data-ready]")
    page.wait_for_selector("#slide[aria-busy=false]")
    page.wait_for_timeout(100)
    seen = pixels(page)[:, :700].astype(int)  # not the small overview at the right
    rows, cols = np.nonzero((np.abs(seen - DARK) < 40).all(axis=2))
    page.locator("#slide").click(position={"x": cols.mean() + 0.5, "y": rows.mean() + 0.5})
    x, y = re.findall(r"\d+", page.locator("#fact-place").text_content() or "")[:2]
    return int(x), int(y)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize(("form", "own_file"), [("html", True), ("html-file", False)])
def test_a_click_finds_the_tumour(
    made: Made, browser: Browser, tmp_path: Path, form: str, own_file: bool
) -> None:
    config = HeatmapConfig(formats=(form,), cohort=False)
    outcome = run_heatmap(
        made.store, made.runs[0], tmp_path, config,
        others=[made.runs[1]], slides=made.slides if own_file else None,
    )  # fmt: skip
    assert outcome.done == ["ill"]
    html = tmp_path / ("ill/index.html" if form == "html" else "ill.viewer.html")
    side = Store(made.store).slide("ill").grid.side_l0()
    with watched(browser) as seen:
        x, y = click_on_the_tumour(seen.page, html)
        assert x <= TUMOUR.x + TUMOUR.width / 2 < x + side[0]
        assert y <= TUMOUR.y + TUMOUR.height / 2 < y + side[1]
        seen.page.keyboard.press("n")  # the highest score may be its neighbour: within one patch
        seen.page.keyboard.press("b")
        best = re.findall(r"\d+", seen.page.locator("#fact-place").text_content() or "")[:2]
        assert abs(int(best[0]) - x) <= side[0]
        assert abs(int(best[1]) - y) <= side[1]
        assert seen.page.locator("#run option").all_text_contents() == ["one", "two"]
        # The slide is small: at html_mpp its picture would have fewer than 2,000 px.
        finest = "0.9" if own_file else "1"
        assert f"The picture holds {finest} \N{MICRO SIGN}m per pixel" in seen.page.content()
        assert seen.page.locator("#patch-picture").evaluate("p => [p.width, p.height]") == [64, 64]


def test_a_second_call_draws_nothing_new(made: Made, tmp_path: Path) -> None:
    config = HeatmapConfig(formats=("html",), cohort=False)
    assert run_heatmap(made.store, made.runs[0], tmp_path, config).done == ["ill"]
    assert run_heatmap(made.store, made.runs[0], tmp_path, config).skipped == ["ill"]


class Lines(Silent):
    """Remember what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def test_a_single_file_that_was_made_coarser_says_so(made: Made, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    slides = tmp_path / "slides"
    slides.mkdir()
    noise = rng.integers(0, 255, (3000, 3000, 3), np.uint8)
    tifffile.imwrite(
        slides / "noise.tiff", noise, photometric="rgb", tile=(256, 256), metadata=None,
        resolution=(1e4 / 0.9, 1e4 / 0.9), resolutionunit="CENTIMETER",
    )  # fmt: skip
    tile = load_config(None, SETTINGS).tile
    run_tile(source_slides([slides]), tmp_path / "store", tile)
    stored = Store(tmp_path / "store").slide("noise")
    score = np.zeros(stored.patch_count, np.float32)
    table = pd.DataFrame(
        {
            "slide_id": ["noise"], "patient_id": ["a"], "label": ["tumour"], "split": "test",
            "fold": 0, "prob_normal": [0.1], "prob_tumour": [0.9],
        }
    )  # fmt: skip
    run = make_run(tmp_path / "run", table)
    corners = [(int(x), int(y)) for x, y in stored.patches.xy_l0]
    attrs = {"score": "probability of tumour", "kind": "probability"}
    write_patches(run, "noise", corners, stored.grid.side_l0(), {"score": score}, attrs)
    lines = Lines()
    config = HeatmapConfig(formats=("html-file",), cohort=False, html_file_mb=1.5)
    assert run_heatmap(
        tmp_path / "store", run.path, tmp_path / "out", config, slides=slides, progress=lines
    ).done
    (line,) = [line for line in lines.said if "um per px" in line]
    assert re.fullmatch(
        r"noise: to fit into one HTML file of 1\.5 MB its picture holds [\d.]+ um per px "
        r"in place of 1",
        line,
    )
    assert (tmp_path / "out" / "noise.viewer.html").stat().st_size <= 1_500_000


def test_the_command_takes_single_file(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def call(*words: str) -> int:
        given = ("wsikit", "heatmap", made.store, "--run", made.runs[0], "-o", tmp_path, *words)
        monkeypatch.setattr(sys, "argv", list(map(str, given)))
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    assert call("--format", "html", "--single-file", "--set", "heatmap.cohort=false") == 0
    assert (tmp_path / "ill.viewer.html").is_file()
    assert not (tmp_path / "ill").exists()
    capfd.readouterr()
    for words in (("--single-file",), ("--single-file", "--format", "png")):
        assert call(*words) == 2
        assert "--single-file speaks of the HTML page" in capfd.readouterr().err
    assert call("--region", "tumour") == 2
    assert "--region speaks of the areas in --truth" in capfd.readouterr().err
    assert call("--thresholds", "") == 2
    assert "heatmap.thresholds" in capfd.readouterr().err
