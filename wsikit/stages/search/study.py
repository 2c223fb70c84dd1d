"""Optuna behind a search: what was tried, and what to try next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from wsikit.errors import StoreError, UsageError
from wsikit.stages.search.folder import Metric, Trial
from wsikit.stages.search.space import Space
from wsikit.training.fits.fit import FitResult

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as OpenTrial

STARTUP = 10
"""Trials drawn at random, before those that came before are learnt from."""

_NAME = "search"
_REASON = "reason"


class SearchStudy:
    """Keep trials in SQLite, and choose the next by the tree-structured Parzen estimator.

    (Bergstra, Bardenet, Bengio and Kegl 2011.) The estimator is seeded anew before every trial, by
    the seed and by how many trials came before, so that a search that was interrupted asks for what
    an undisturbed one would have asked for. Optuna numbers a trial that was interrupted, and it
    stays in the file; here it does not count.

    Args:
        path: the SQLite file; made where it is missing.
        metric: what is to become small (`val_loss`) or large (`val_auc`).
        seed: from 0.

    Raises:
        UsageError: Optuna is not installed.
        StoreError: the file is none of Optuna's.
    """

    def __init__(self, path: Path, metric: Metric, seed: int) -> None:
        self._optuna = import_optuna()
        self._metric: Metric = metric
        self._seed = seed
        self._open: OpenTrial | None = None
        from sqlalchemy.engine import URL
        from sqlalchemy.exc import SQLAlchemyError

        url = URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)
        direction = "minimize" if metric == "val_loss" else "maximize"
        try:
            self._study = self._optuna.create_study(
                storage=url, study_name=_NAME, direction=direction, load_if_exists=True
            )
            running = self._optuna.trial.TrialState.RUNNING
            for left in self._study.get_trials(states=(running,)):
                self._study.tell(left.number, state=self._optuna.trial.TrialState.FAIL)
        except (SQLAlchemyError, RuntimeError) as error:
            raise StoreError(
                f"{path}: cannot be used ({type(error).__name__})", "delete it, or use --overwrite"
            ) from error

    def trials(self) -> list[Trial]:
        """Return the trials that came to an end, in order."""
        counted = [t for t in self._study.get_trials() if _counts(t)]
        return [_trial(number, frozen) for number, frozen in enumerate(counted)]

    def best(self) -> Trial | None:
        """Return the first of the best trials; None where all failed."""
        measured = [t for t in self.trials() if not t.reason]
        sign = 1 if self._metric == "val_loss" else -1
        return min(measured, key=lambda t: sign * getattr(t, self._metric), default=None)

    def ask(self, space: Space) -> Mapping[str, Any]:
        """Choose the values of the next trial."""
        words = np.random.SeedSequence([self._seed, len(self.trials())]).generate_state(1)
        self._study.sampler = self._optuna.samplers.TPESampler(
            seed=int(words[0]), n_startup_trials=STARTUP
        )
        self._open = self._study.ask()
        return {key: values.suggest(self._open, key) for key, values in space.items()}

    def measured(self, result: FitResult) -> None:
        """Tell what the trial that was asked for reached."""
        open_trial = self._opened()
        for name in ("val_loss", "val_auc", "best_epoch", "epochs_run"):
            open_trial.set_user_attr(name, getattr(result, name))
        self._study.tell(open_trial, getattr(result, self._metric))

    def failed(self, reason: str) -> None:
        """Tell that the trial that was asked for came to nothing."""
        open_trial = self._opened()
        open_trial.set_user_attr(_REASON, reason)
        self._study.tell(open_trial, state=self._optuna.trial.TrialState.FAIL)

    def _opened(self) -> OpenTrial:
        if self._open is None:
            raise RuntimeError("no trial was asked for")
        open_trial, self._open = self._open, None
        return open_trial


def import_optuna() -> ModuleType:
    """Import Optuna, silenced.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UsageError(
            "wsikit search needs Optuna, which is not installed", "pip install 'wsikit[search]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _counts(frozen: FrozenTrial) -> bool:
    return frozen.state.name == "COMPLETE" or _REASON in frozen.user_attrs


def _trial(number: int, frozen: FrozenTrial) -> Trial:
    return Trial(number, dict(frozen.params), **frozen.user_attrs)
