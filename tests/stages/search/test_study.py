"""What Optuna is asked for: the same after an interruption, also where it has begun to learn."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsikit.stages.search.space import Choice, Range
from wsikit.stages.search.study import STARTUP, SearchStudy
from wsikit.training.fits.fit import FitResult

SPACE = {"train.lr": Range(1e-5, 1e-1, log=True), "train.accumulate": Choice((1, 4, 16))}


def result(values) -> FitResult:
    """A loss that is least at lr 1e-3 with 4 slides a step."""
    loss = abs(values["train.lr"] - 1e-3) * 100 + abs(values["train.accumulate"] - 4)
    return FitResult(1, 2, loss, 1 / (1 + loss), 0.0)


def run(study: SearchStudy, trials: int) -> SearchStudy:
    while len(study.trials()) < trials:
        values = study.ask(SPACE)
        if len(study.trials()) == 3:
            study.failed("not finite")
        else:
            study.measured(result(values))
    return study


@pytest.mark.parametrize("metric", ["val_loss", "val_auc"])
def test_interrupted_often_it_asks_for_the_same(tmp_path: Path, metric) -> None:
    trials = STARTUP + 4
    whole = run(SearchStudy(tmp_path / "whole.db", metric, 7), trials)
    for upto in (1, 4, STARTUP + 2, trials):
        cut = run(SearchStudy(tmp_path / "cut.db", metric, 7), upto)
        cut.ask(SPACE)  # and never told of again
    cut = SearchStudy(tmp_path / "cut.db", metric, 7)
    assert cut.trials() == whole.trials()
    assert cut.best() == whole.best()
    assert [t.number for t in whole.trials()] == list(range(trials))
    assert [t.number for t in whole.trials() if t.reason] == [3]


def test_the_best_is_the_least_loss_or_the_largest_auc(tmp_path: Path) -> None:
    study = run(SearchStudy(tmp_path / "a.db", "val_loss", 0), 8)
    losses = {t.number: t.val_loss for t in study.trials() if not t.reason}
    assert study.best().number == min(losses, key=losses.get)
    study = run(SearchStudy(tmp_path / "b.db", "val_auc", 0), 8)
    aucs = {t.number: t.val_auc for t in study.trials() if not t.reason}
    assert study.best().number == max(aucs, key=aucs.get)


def test_another_seed_asks_for_something_else(tmp_path: Path) -> None:
    one, other = (SearchStudy(tmp_path / f"{n}.db", "val_loss", n).ask(SPACE) for n in range(2))
    assert one != other


def test_a_study_without_a_measured_trial_has_no_best(tmp_path: Path) -> None:
    study = SearchStudy(tmp_path / "a.db", "val_loss", 0)
    assert study.best() is None
    study.ask(SPACE)
    study.failed("broken")
    assert study.best() is None
    assert [t.reason for t in study.trials()] == ["broken"]
