"""Search: hyper-parameters that do best on validation slides.

Test slides take no part: they are set aside before anything is looked at, labels included, so that
the run that is trained afterwards can be measured on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from wsikit.config import Config
from wsikit.errors import CohortError, ConfigError, UsageError, WsikitError
from wsikit.methods import Method, slide_method
from wsikit.stages.labelled import Labelled, join_labels
from wsikit.stages.progress import Progress, Silent
from wsikit.stages.run_folder import RunFacts
from wsikit.stages.search.folder import Metric, SearchFolder, Trial
from wsikit.stages.search.space import Space, check_space, with_values
from wsikit.stages.search.study import SearchStudy
from wsikit.stages.stored_names import find_encoder_id
from wsikit.stages.training.bags import bag_loader
from wsikit.stages.training.begin_run import (
    Schedule,
    Sides,
    fit_options,
    mention,
    sides_of,
    split_cohort,
)
from wsikit.stages.training.run_heads import untrained_head
from wsikit.stages.training.split_file import read_split
from wsikit.stages.training.train import bags_of, graph_for, lacking, run_facts
from wsikit.store.store import Store
from wsikit.training.bags.bags import BagCache
from wsikit.training.fits.fit import FitResult

STAGE = "search"


@dataclass(frozen=True)
class _Task:
    """What every trial has in common."""

    config: Config
    method: Method
    facts: RunFacts
    sides: Sides
    load: BagCache
    device: str
    files: SearchFolder

    def fit(self, number: int, values: Mapping[str, Any]) -> FitResult:
        """Train with these values; a trial that was interrupted goes on."""
        config = with_values(self.config, values)
        options = fit_options(config, Schedule.of(config, self.method), 0, self.device)
        train, val = (bags_of(s, self.facts, self.load) for s in (self.sides.train, self.sides.val))
        return self.method.fit(
            untrained_head(self.facts, config, 0), train, val, options, config.train.head,
            self.files.trial(number), None, self.files.trial_logs(number),
        )  # fmt: skip


def run_search(
    store_path: Path,
    labels: Path,
    out: Path,
    config: Config,
    space: Space,
    *,
    trials: int,
    metric: Metric = "val_loss",
    fold: int | None = None,
    split: Path | None = None,
    encoder: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Trial:
    """Try hyper-parameters and return the trial that does best on validation slides.

    Killed at any moment and called again, it goes on, and ends in the same trials: what is tried
    next follows from the seed and from the trials before. More trials can be asked for later. The
    folder holds `best.yaml` and `split.csv`, by which the best trial can be trained and measured,
    and `trials.csv`.

    Args:
        store_path: a store with features, and graphs where the method needs them.
        labels: cohort CSV, as for training.
        out: the search's folder.
        config: the recipe; what the space does not name stays as it is.
        space: what varies.
        trials: how many to try, those of earlier calls included.
        metric: the lowest `val_loss` of a trial's best epoch wins, or the highest `val_auc`.
        fold: of a split with several folds, the one to search in.
        split: a run, or a `split.csv`, whose split is used; default: one is made.
        encoder: name or id of the features; default the recipe's `extract.encoder`.
        device: `auto`, `cpu` or `cuda`.
        progress: told of each trial.
        overwrite: replace another search in the folder.

    Raises:
        UsageError: Optuna is not installed, or a fold is needed or unknown.
        ConfigError: the space does not fit the recipe or the method.
        CohortError: the labels are wrong or cannot be split as asked.
        StoreError: the folder holds another search.
        WsikitError: every trial failed.
    """
    progress = progress or Silent()
    store, method = Store(store_path), slide_method(config.train.method)
    given = None if split is None else read_split(split)
    config = config if given is None else given.written_into(config)
    _check(space, config, method, metric)
    encoder_id = find_encoder_id(store, encoder or config.extract.encoder)
    graph = graph_for(method, config, encoder_id)
    labelled = join_labels(store, labels, lambda i: lacking(store, i, encoder_id, graph))
    mention(labelled, progress)
    splits = _one_fold(split_cohort(config, labelled.table, store, progress, given), fold)
    seen = _without_test(labelled.table, splits)
    config = _settled(config, encoder_id)
    facts = run_facts(store, config, Labelled(seen, {}, {}), encoder_id, graph)
    method.check_classes(facts.classes)
    files = SearchFolder(out)
    files.begin(facts, space, metric, splits, overwrite)
    load = BagCache(bag_loader(store, encoder_id, graph))
    task = _Task(config, method, facts, sides_of(splits, 0), load, device, files)
    study = SearchStudy(files.study_db, metric, config.seed)
    _try_all(study, task, space, trials, metric, progress)
    best = study.best()
    if best is None:
        raise WsikitError(f"every trial failed; the first: {study.trials()[0].reason}")
    files.write_best(with_values(config, best.values), best, len(study.trials()), metric)
    return best


def _check(space: Space, config: Config, method: Method, metric: Metric) -> None:
    check_space(space, config, method)
    if metric == "val_loss" and "train.class_weights" in space:
        raise ConfigError(
            "train.class_weights changes the validation loss itself, so losses cannot be compared",
            "search by --metric val_auc, or leave it out of the space",
        )


def _one_fold(splits: pd.DataFrame, fold: int | None) -> pd.DataFrame:
    """Return one fold, as the only one: what is test in it validates in another."""
    folds = splits["fold"].nunique()
    if fold is None and folds > 1:
        raise UsageError(
            f"the split has {folds} folds, and what is test in one chooses in another",
            "name the fold to search in with --fold, or use --folds 1",
        )
    if fold is not None and not 0 <= fold < folds:
        raise UsageError(f"there is no fold {fold}", f"name one of 0 to {folds - 1}")
    return splits[splits["fold"] == (fold or 0)].assign(fold=0)


def _without_test(table: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Return the slides that may be looked at; nothing that follows knows of any other."""
    sides = sides_of(splits, 0)
    seen = set(sides.train["slide_id"]) | set(sides.val["slide_id"])
    return table[table["slide_id"].isin(seen)].reset_index(drop=True)


def _settled(config: Config, encoder_id: str) -> Config:
    """Return the recipe as the best trial is to be trained: one fold, these features."""
    train = config.train.model_copy(update={"folds": 1})
    extract = config.extract.model_copy(update={"encoder": encoder_id})
    return config.model_copy(update={"train": train, "extract": extract})


def _try_all(
    study: SearchStudy,
    task: _Task,
    space: Space,
    trials: int,
    metric: Metric,
    progress: Progress,
) -> None:
    done = len(study.trials())
    task.files.write_trials(study.trials(), space)
    progress.start(STAGE, max(0, trials - done))
    for number in range(done, trials):
        values = study.ask(space)
        try:
            result = task.fit(number, values)
        except UsageError:
            raise
        except WsikitError as error:  # such as a loss that is not finite: another value may do
            study.failed(str(error))
            words = f"trial {number}: FAILED: {error}"
        else:
            if metric == "val_auc" and result.val_auc is None:
                raise CohortError(
                    "the validation slides are of one class, so they have no AUC",
                    "search by --metric val_loss, or validate on more slides",
                )
            study.measured(result)
            words = f"trial {number}: {metric} {getattr(result, metric):.4f}"
        task.files.write_trials(study.trials(), space)
        task.files.drop_trial(number)
        progress.advance(words)
    progress.finish()
