"""`wsikit inspect --patches` on a slide tiled by the command line."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.conftest import Wsikit
from wsikit.cli.inspect import _word
from wsikit.config import load_config
from wsikit.phantoms.slide import write_phantom
from wsikit.phantoms.spec import PhantomSpec
from wsikit.stages.cohort import source_slides
from wsikit.stages.tiling.tile import run_tile
from wsikit.store.store import Store
from wsikit.types import Mpp, Size


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspect")
    spec = PhantomSpec("p", Size(1500, 1100), Mpp(0.5, 0.49), seed=3, tumour=True, scanner="dune")
    write_phantom(spec, folder / "p.tiff")
    config = load_config(None, ["tile.size=64", "tile.mpp=native"])
    run_tile(source_slides([folder / "p.tiff"]), folder / "store", config.tile)
    return folder / "store"


def test_the_patches_of_a_slide_are_listed(wsikit: Wsikit, store: Path, tmp_path: Path) -> None:
    stored = Store(store).slide("p")
    grid, kept = stored.grid, len(stored.patches)
    document = json.loads(wsikit("inspect", store, "--patches", "--slide", "p", "--json").out)
    assert len(document["patches"]) == grid.rows * grid.cols
    reasons = Counter(patch["reason"] for patch in document["patches"])
    assert reasons["kept"] == kept == document["counts"]["kept"]
    assert 0 < kept < grid.rows * grid.cols
    assert {(p["x"], p["y"]) for p in document["patches"] if p["reason"] == "kept"} == set(
        map(tuple, stored.patches.xy_l0.tolist())
    )
    listed = wsikit("inspect", store, "--patches", "--csv", tmp_path / "p.csv")
    assert listed.code == 0
    assert f"kept: {kept:,}" in listed.out
    with (tmp_path / "p.csv").open(newline="") as file:
        assert Counter(row["reason"] for row in csv.DictReader(file)) == reasons


def test_the_terminal_shows_some_and_says_how_to_get_all(wsikit: Wsikit, store: Path) -> None:
    answer = wsikit("inspect", store, "--patches")
    assert answer.code == 0
    assert len(answer.out.splitlines()) < 70
    assert "all of them: --csv FILE or --json" in answer.out
    assert "dropped by tissue: " in answer.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--slide", "p"), "add --patches"),
        (("--csv", "x.csv"), "add --patches"),
        (("--patches", "--slide", "q"), "slide 'q' is not in it"),
        (("--patches", "--csv", "/dev/null/x.csv"), "cannot write"),
    ],
)
def test_a_wrong_call_is_one_line(
    wsikit: Wsikit, store: Path, options: tuple[str, ...], message: str
) -> None:
    answer = wsikit("inspect", store, *options)
    assert answer.code == 2
    assert message in answer.err
    assert answer.out == ""


def test_a_slide_file_has_no_patches(wsikit: Wsikit, tmp_path: Path) -> None:
    (tmp_path / "p.tiff").touch()
    answer = wsikit("inspect", tmp_path / "p.tiff", "--patches")
    assert answer.code == 2
    assert "not a store" in answer.err


def test_sizes_and_names_are_told_apart(wsikit: Wsikit, store: Path) -> None:
    """A list of names, as of filters, is no size."""
    lines = [line.strip() for line in wsikit("inspect", store).out.splitlines()]
    assert "filters: tissue" in lines
    assert "size_l0: 1500 x 1100" in lines
    assert "encoders: none" in lines
    assert "pixels: yes" in lines
    assert _word(["a-1", "b-2"]) == "a-1, b-2"
