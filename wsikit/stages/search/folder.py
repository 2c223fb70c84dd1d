"""The folder of a search: what it is, its trials, and the best one as a recipe to train with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml

from wsikit.atomic import ensure_folder, write_bytes, write_json
from wsikit.config import Config
from wsikit.errors import StoreError
from wsikit.stages.run_folder import RunFacts, write_table
from wsikit.stages.search.space import Space
from wsikit.store.recipe import recipe_id

ALGORITHM = 1

Metric = Literal["val_loss", "val_auc"]


@dataclass(frozen=True)
class Trial:
    """What became of one trial.

    Attributes:
        number: which it is, from 0.
        values: what was tried, by key.
        val_loss: of its best epoch; None where it failed, as for the next three.
        val_auc: of the same epoch; None also where validation has one class.
        best_epoch: that epoch, from 1.
        epochs_run: how many were run.
        reason: why it failed; empty where it did not.
    """

    number: int
    values: Mapping[str, Any]
    val_loss: float | None = None
    val_auc: float | None = None
    best_epoch: int | None = None
    epochs_run: int | None = None
    reason: str = ""


class SearchFolder:
    """Name the files of a search, and write them.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mark = path / "search.json"
        self.study_db = path / "study.db"
        self.split_csv = path / "split.csv"
        self.trials_csv = path / "trials.csv"
        self.best_yaml = path / "best.yaml"

    def trial(self, number: int) -> Path:
        """Return where a trial is trained."""
        return self.path / "trials" / f"{number:04d}"

    def trial_logs(self, number: int) -> Path:
        """Return the folder of a trial's curves for TensorBoard."""
        return self.path / "logs" / f"{number:04d}"

    def drop_trial(self, number: int) -> None:
        """Remove what a trial was trained in; what it reached stands in the table."""
        shutil.rmtree(self.trial(number), ignore_errors=True)

    def begin(
        self, facts: RunFacts, space: Space, metric: Metric, splits: pd.DataFrame, overwrite: bool
    ) -> None:
        """Take the folder, or find it as an earlier call of the same search left it.

        Args:
            facts: what identifies a training on the slides that are seen.
            space: what varies.
            metric: by what trials are judged.
            splits: the split; the labels of test slides are no part of what the search is.
            overwrite: replace another search.

        Raises:
            StoreError: it holds another search.
            UsageError: it cannot be written.
        """
        ensure_folder(self.path)
        sides = splits.loc[splits["split"] != "test", ["slide_id", "split"]].to_numpy().tolist()
        described = {
            "method": facts.method,
            "classes": list(facts.classes),
            "encoder_id": facts.encoder_id,
            "graph_id": facts.graph_id,
            "seed": facts.seed,
            "metric": metric,
            "space": {key: values.described() for key, values in space.items()},
        }
        identity = recipe_id(
            {"algorithm": ALGORITHM, "training": facts.recipe_id, "sides": sides, **described}
        )
        if self.mark.exists() and self._identity() != identity:
            if not overwrite:
                raise StoreError(
                    f"{self.path}: holds another search (other settings, slides, labels or space)",
                    "use --overwrite to replace it, or another folder with -o",
                )
            self._clear()
        write_table(self.split_csv, splits)
        write_json(self.mark, {"recipe_id": identity, **described})

    def write_trials(self, trials: Sequence[Trial], space: Space) -> None:
        """Write a table of all trials."""
        rows = [
            {
                "trial": trial.number,
                **{key: trial.values.get(key) for key in space},
                "val_loss": trial.val_loss,
                "val_auc": trial.val_auc,
                "best_epoch": trial.best_epoch,
                "epochs_run": trial.epochs_run,
                "failed": trial.reason,
            }
            for trial in trials
        ]
        if rows:
            table = pd.DataFrame(rows).astype({"best_epoch": "Int64", "epochs_run": "Int64"})
            write_table(self.trials_csv, table)

    def write_best(self, config: Config, best: Trial, trials: int, metric: Metric) -> None:
        """Write the recipe of the best trial."""
        where = {"slides", "cohort", "labels", "split", "output"}
        content = config.model_dump(mode="json", exclude=where)
        said = (
            f"# Trial {best.number} of {trials}: {metric} {getattr(best, metric):.6g}, found by "
            "wsikit search. Its test slides are unseen where it is\n"
            "# trained on the same split:\n"
            "#   wsikit train STORE --labels COHORT.csv --config best.yaml --split split.csv -o RUN"
            "\n"
        )
        write_bytes(self.best_yaml, (said + yaml.safe_dump(content, sort_keys=False)).encode())

    def _identity(self) -> str:
        try:
            return str(json.loads(self.mark.read_bytes())["recipe_id"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self.mark}: not the description of a search", "use another folder"
            ) from error

    def _clear(self) -> None:
        for folder in ("trials", "logs"):
            shutil.rmtree(self.path / folder, ignore_errors=True)
        for file in (
            self.mark, self.study_db, self.split_csv, self.trials_csv, self.best_yaml,
        ):  # fmt: skip
            file.unlink(missing_ok=True)
