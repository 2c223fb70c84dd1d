"""Killed with the whole process tree at each stage, a run ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import run_process, start, tree
from wsikit.phantoms.slide import write_phantom
from wsikit.phantoms.spec import PhantomSpec
from wsikit.types import Mpp, Size

pytestmark = pytest.mark.slow

RECIPE = """
cohort: cohort.csv
output: {output}/study
tile: {{size: 128}}
extract: {{weights: random, batch_size: 8}}
train: {{method: abmil, epochs: 3, bootstrap: 100}}
heatmap: {{formats: [geojson]}}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight small phantoms and their labels."""
    folder = tmp_path_factory.mktemp("study")
    sides = ["train", "train", "train", "train", "val", "val", "test", "test"]
    rows = ["slide,label,split"]
    for n, side in enumerate(sides):
        spec = PhantomSpec(f"s{n}", Size(1500, 1200), Mpp(0.5, 0.49), n, n % 2 == 1, "dune")
        write_phantom(spec, folder / f"s{n}.tiff")
        rows.append(f"s{n}.tiff,{'tumour' if spec.tumour else 'normal'},{side}")
    (folder / "cohort.csv").write_text("\n".join(rows) + "\n")
    return folder


def recipe(study: Path, output: str) -> Path:
    path = study / f"{output}.yaml"
    path.write_text(RECIPE.format(output=output))
    return path


def kill_when(process: subprocess.Popen[str], seen: Callable[[], bool]) -> None:
    """Kill a process and all its children as soon as something is seen, or when it ends."""
    deadline = time.monotonic() + 240
    while not seen() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def results(out: Path) -> dict[str, bytes]:
    """Return what must not depend on kills: all but clocks (status, fit.json) and the lock."""
    found = {f"store/{k}": v for k, v in tree(out / "store" / "slides").items()}
    found |= {f"run/{k}": v for k, v in tree(out / "run").items() if not k.endswith("fit.json")}
    return found


def test_killed_at_every_stage_it_ends_in_the_same_bytes(study: Path) -> None:
    answer = run_process("run", recipe(study, "whole"), "-j", 2)
    assert answer.code == 0, answer.err
    out = study / "killed" / "study"
    moments: list[Callable[[], bool]] = [
        lambda: any((out / "store" / ".staging").glob("*.shards/*_*.json")),
        lambda: len(list((out / "store" / "slides").glob("*.zarr/features/*"))) >= 3,
        lambda: any((out / "run" / "folds").glob("*/*")),
        lambda: any((out / "run" / "heatmaps").glob("*")),
    ]
    config = recipe(study, "killed")
    for moment in moments:
        kill_when(start("run", config, "-j", 2), moment)
    answer = run_process("run", config, "-j", 2)
    assert answer.code == 0, answer.err
    whole, killed = results(study / "whole" / "study"), results(out)
    assert sorted(whole) == sorted(killed)
    assert [name for name in whole if whole[name] != killed[name]] == []
    assert not list((out / "store" / ".staging").iterdir())
    again = run_process("run", config, "-j", 2)
    assert "8 already done" in again.err
    assert results(out) == whole


def test_tiling_killed_at_random_moments(study: Path, tmp_path: Path) -> None:
    """Seeded moments within the time an undisturbed run takes; then the same bytes."""
    call = ("tile", *sorted(study.glob("*.tiff")), "--set", "tile.size=32", "-j", 2, "-o")
    begun = time.monotonic()
    assert run_process(*call, tmp_path / "whole").code == 0
    took = time.monotonic() - begun
    chance = random.Random(0)
    for _ in range(5):
        until = time.monotonic() + chance.uniform(0.3, 1) * took
        kill_when(start(*call, tmp_path / "killed"), lambda until=until: time.monotonic() > until)  # type: ignore[misc]
        for path in (tmp_path / "killed" / "slides").glob("*.zarr"):
            whole = tree(tmp_path / "whole" / "slides" / path.name)
            assert tree(path) == whole  # whatever looks finished is
    assert run_process(*call, tmp_path / "killed").code == 0
    assert tree(tmp_path / "killed" / "slides") == tree(tmp_path / "whole" / "slides")
    assert not list((tmp_path / "killed" / ".staging").iterdir())
