"""Killed with the whole process tree at each stage, a run ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
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


def kill_when(process: subprocess.Popen[str], seen: Callable[[], bool], later: float = 0.0) -> None:
    """Kill a process and all its children some seconds after something is seen, or when it ends."""
    deadline = time.monotonic() + 240
    while not seen() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(later)
    with suppress(ProcessLookupError):  # it may have ended just now
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def results(out: Path) -> dict[str, bytes]:
    """Return what must not depend on kills: all but clocks (status, fit.json, curves), the lock."""
    found = {f"store/{k}": v for k, v in tree(out / "store" / "slides").items()}
    timed = ("fit.json", ".wsikit")
    found |= {f"run/{k}": v for k, v in tree(out / "run").items() if not k.endswith(timed)}
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


KILLS = 30


def test_tiling_killed_at_random_moments(study: Path, tmp_path: Path) -> None:
    """Killed after seeded amounts of progress, and a little later; then the same bytes.

    Progress, not time, so that every kill interrupts something on a machine of any speed. After
    each, whatever looks finished is whole, and a shard that was finished is never written again:
    the next run takes it over as it is. A store that got done is taken away, so that there is
    always something to interrupt.
    """
    call = ("tile", *sorted(study.glob("*.tiff"))[:4], "--set", "tile.size=32")
    for workers in (1, 2):
        assert run_process(*call, "-j", workers, "-o", tmp_path / f"whole{workers}").code == 0
    whole = tree(tmp_path / "whole1" / "slides")
    assert tree(tmp_path / "whole2" / "slides") == whole
    chance = random.Random(0)
    killed, finished = tmp_path / "killed", 0
    shards: dict[str, int] = {}
    for n in range(KILLS):
        target = files_below(killed) + chance.randint(0, len(whole) // 5)
        process = start(*call, "-j", 2 if n % 3 == 0 else 1, "-o", killed)
        kill_when(
            process, lambda target=target: files_below(killed) >= target, chance.random() / 20
        )  # type: ignore[misc]
        now = finished_shards(killed)
        assert {name: now.get(name) for name in shards} == shards
        shards = now
        found = tree(killed / "slides") if (killed / "slides").is_dir() else {}
        assert found.items() <= whole.items()
        if found == whole:
            shutil.rmtree(killed)
            shards, finished = {}, finished + 1
    assert finished < KILLS / 2  # most kills interrupted something
    assert run_process(*call, "-o", killed).code == 0
    assert {name: finished_shards(killed).get(name) for name in shards} == shards
    assert tree(killed / "slides") == whole
    assert not list((killed / ".staging").iterdir())


def files_below(folder: Path) -> int:
    """Count files, those that vanish while counting included or not."""
    return sum(len(files) for _, _, files in os.walk(folder))


def finished_shards(store: Path) -> dict[str, int]:
    """Time of writing of every shard that is finished: marked so in staging, or in its place."""
    found = {}
    for marker in (store / ".staging").glob("*.shards/*_*.json"):
        row, col = marker.stem.split("_")
        shard = store / ".staging" / f"{marker.parent.stem}.zarr" / "0" / "c" / "0" / row / col
        if shard.exists():  # a shard without tissue has no file
            found[f"{marker.parent.stem}/{row}/{col}"] = shard.stat().st_mtime_ns
    for shard in (store / "slides").glob("*.zarr/0/c/0/*/*"):
        slide_id = shard.parents[4].stem
        found[f"{slide_id}/{shard.parent.name}/{shard.name}"] = shard.stat().st_mtime_ns
    return found
