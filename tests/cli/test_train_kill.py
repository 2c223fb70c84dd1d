"""`wsikit train`, killed with SIGKILL at seeded points of its progress, ends in the same bytes."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.cli.conftest import run_process, start, tree
from tests.cli.test_kill import kill_when
from tests.stages.textured_cohort import make_store
from wsikit.config import ExtractConfig
from wsikit.stages.extraction.extract import run_extract

pytestmark = pytest.mark.slow

FOLDS, EPOCHS, KILLS = 2, 60, 3


def epochs_done(run: Path) -> int:
    """Count the epochs that are written down, over all folds."""
    return sum(len(h.read_text().splitlines()) - 1 for h in run.glob("folds/*/history.csv"))


def reached(run: Path, epochs: int) -> bool:
    """Tell whether so many epochs are written down."""
    return epochs_done(run) >= epochs


def results(run: Path) -> dict[str, bytes]:
    """Return what must not depend on kills: all but clocks."""
    return {k: v for k, v in tree(run).items() if "fit.json" not in k and "tfevents" not in k}


def test_train_killed_at_seeded_points_of_progress(tmp_path: Path) -> None:
    store, cohort = make_store(tmp_path)
    config = ExtractConfig(encoder="timm:test_resnet", weights="random")
    encoder, _ = run_extract(store, config, device="cpu")
    call = (
        "train", store, "--labels", cohort, "--method", "abmil", "--encoder", encoder,
        "--folds", FOLDS, "--epochs", EPOCHS, "--device", "cpu",
        "--set", f"train.patience={EPOCHS}", "--set", "train.bootstrap=100",
    )  # fmt: skip
    whole, killed = (tmp_path / name / "study" for name in ("whole", "killed"))
    assert run_process(*call, "-o", whole).code == 0
    chance = random.Random(5)
    targets = sorted(chance.sample(range(FOLDS * EPOCHS), KILLS))
    for target in targets:
        process = start(*call, "-o", killed)
        kill_when(process, partial(reached, killed, target))
    assert epochs_done(killed) < FOLDS * EPOCHS  # the last kill interrupted something, too
    answer = run_process(*call, "-o", killed)
    assert answer.code == 0, answer.err
    wanted, found = results(whole), results(killed)
    assert sorted(wanted) == sorted(found)
    assert [name for name in wanted if wanted[name] != found[name]] == []
    for fold in range(FOLDS):
        events = EventAccumulator(str(killed / "logs" / f"fold{fold}"))
        events.Reload()
        history = pd.read_csv(killed / "folds" / str(fold) / "history.csv")
        assert [e.step for e in events.Scalars("loss/val")] == list(history["epoch"])
