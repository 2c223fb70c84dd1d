"""No slide id leads out of the store, whichever way it comes in."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import pytest

from wsikit.config import load_config
from wsikit.errors import CohortError, StoreError
from wsikit.slides.open import default_slide_id
from wsikit.stages.cohort import SourceSlide, read_cohort, source_slides
from wsikit.stages.tiling.tile import run_tile
from wsikit.store.status import StageStatus
from wsikit.store.store import Store

HOSTILE = [
    "../../x", "..", ".", "/etc/x", "a/b", "a\\b", "C:\\x", "~", "-o", ".hidden", "x" * 129,
    "Schnitt ä", "a\nb", "a\n", "a\tb", "a b", "a\x00b", "a\x1b[2J", "$(touch x)", "*", "x/../y",
    "\u202ea", "\uff0e\uff0e", "\u0661",
]  # fmt: skip


@pytest.mark.parametrize("slide_id", HOSTILE)
def test_the_store_refuses_it(tmp_path: Path, slide_id: str) -> None:
    store = Store.create(tmp_path / "s", {})
    for ask in (store.slide_path, store.slide, store.status):
        with pytest.raises(StoreError, match="cannot name a file") as caught:
            ask(slide_id)
        assert str(caught.value).isprintable()
    with pytest.raises(StoreError, match="cannot name a file"):
        store.set_status(slide_id, "tile", StageStatus("failed"))


@pytest.mark.parametrize("slide_id", [i for i in HOSTILE if i.strip() == i and "\x00" not in i])
def test_the_cohort_refuses_it(tmp_path: Path, slide_id: str) -> None:
    with (tmp_path / "cohort.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["slide", "slide_id"], ["a.svs", "good"], ["b.svs", slide_id]])
    with pytest.raises(CohortError, match=r"cohort\.csv, line 3: slide id .* cannot name a file"):
        read_cohort(tmp_path / "cohort.csv")


NAMES = [name for name in HOSTILE if "\x00" not in name and name not in (".", "..")]


@pytest.mark.parametrize("name", [*NAMES, "..svs", "...svs", ".svs", "\n.svs", "ä" * 80 + ".svs"])
def test_a_files_name_is_made_one_that_fits(tmp_path: Path, name: str) -> None:
    slide_id = default_slide_id(tmp_path / name)
    path = Store.create(tmp_path / "s", {}).slide_path(slide_id)
    assert path.parent == tmp_path / "s" / "slides"


def test_a_hostile_id_ends_the_run_before_anything_is_written(
    phantom: Path, tmp_path: Path
) -> None:
    settings = load_config(None, ["tile.size=128"]).tile
    with pytest.raises(StoreError, match="cannot name a file"):
        run_tile([SourceSlide("../../out", phantom)], tmp_path / "a" / "b" / "s", settings)
    assert not list(tmp_path.glob("out*"))
    assert not list((tmp_path / "a").glob("out*"))


def test_links_in_the_store_are_replaced_and_not_followed(phantom: Path, tmp_path: Path) -> None:
    """Someone's folder and file, linked from where a slide and its status will lie."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "precious").write_text("mine")
    shutil.copyfile(phantom, tmp_path / "ph.tiff")
    store = Store.create(tmp_path / "s", {})
    os.symlink(theirs, store.slide_path("ph"))
    os.symlink(theirs / "precious", tmp_path / "s" / "status" / "ph.json")
    settings = load_config(None, ["tile.size=128"]).tile
    outcome = run_tile(
        source_slides([tmp_path / "ph.tiff"]), tmp_path / "s", settings, overwrite=True
    )
    assert outcome.done == ["ph"]
    assert {p.name: p.read_text() for p in theirs.iterdir()} == {"precious": "mine"}
    assert not store.slide_path("ph").is_symlink()
