"""`wsikit tile` on a folder of damaged slides, as a process of its own: one line each, no more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.conftest import run_process, tree
from tests.slides.mutant_originals import made_originals
from tests.slides.mutations import mutant
from wsikit.phantoms.slide import write_phantom
from wsikit.phantoms.spec import PhantomSpec
from wsikit.store.store import Store
from wsikit.types import Mpp, Size

MUTANTS = 30
LINE = re.compile(
    r"tile: .*|tile \d+/\d+  \S+: .*|error: m\d+: .*|left out: .*|dashboard: .*", re.IGNORECASE
)
"""What a log of tiling may hold."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mutants of TIFF slides, told apart by number, and one sound phantom."""
    folder = tmp_path_factory.mktemp("slides")
    originals = [o for o in made_originals() if not o.name.endswith((".png", "jpg", "jpeg", "bmp"))]
    for number in range(MUTANTS):
        made = mutant(originals, 7, number)
        (content,) = made.changed.values()
        suffix = "".join(Path(made.original.name).suffixes[-2:])
        (folder / f"m{number}{suffix}").write_bytes(content)
    write_phantom(
        PhantomSpec("sound", Size(1300, 1000), Mpp(0.5, 0.5), 1, False, "dune"),
        folder / "sound.tiff",
    )
    return folder


def test_each_failure_is_a_line_and_nothing_is_half_finished(folder: Path, tmp_path: Path) -> None:
    before = tree(folder)
    store = tmp_path / "in" / "store"
    answer = run_process(
        "tile", folder, "-o", store, "--mpp", "0.5", "--set", "tile.size=64",
        "--set", "tile.rgb.window=8", "-j", "1",
    )  # fmt: skip
    assert answer.code == 1, answer.err
    assert answer.out == ""
    lines = answer.err.splitlines()
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    failed = {
        line.split(": ")[1]: line.split(": ", 2)[2] for line in lines if line.startswith("error: ")
    }
    assert 5 < len(failed) < MUTANTS
    for slide_id, reason in failed.items():
        assert reason.startswith(f"{slide_id}."), reason
        assert str(folder) not in reason
        assert reason.isprintable()
    opened = Store(store)
    states = {i: opened.status(i)["tile"].state for i in opened.known_ids()}
    assert len(states) == MUTANTS + 1
    assert {i for i, state in states.items() if state == "failed"} == set(failed)
    assert states["sound"] == "done"
    assert set(opened.slide_ids()) == {i for i, state in states.items() if state != "failed"}
    for slide_id in opened.slide_ids():
        slide = opened.slide(slide_id)
        for patch in range(len(slide.patches)):
            slide.read_patch(patch)
    assert {p.name.partition(".")[0] for p in (store / "slides").iterdir()} == set(
        opened.slide_ids()
    )
    assert tree(folder) == before
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["store"]
