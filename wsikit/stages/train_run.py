"""What every training does around its fits: order classes, split, begin a run or find it begun."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pandas as pd

from wsikit.config import Config
from wsikit.errors import CohortError, StoreError
from wsikit.methods import Method, PatchMethod
from wsikit.stages.labelled import Labelled
from wsikit.stages.progress import Progress
from wsikit.stages.run_folder import RunFacts, RunFolder, write_table
from wsikit.training.splits import make_splits

STAGE = "train"
VERSIONED = ("wsikit", "torch", "torch-geometric", "timm", "faiss-cpu", "lightning", "numpy")


@dataclass(frozen=True)
class Sides:
    """The slides of one fold, by what they are for."""

    train: pd.DataFrame
    val: pd.DataFrame
    test: pd.DataFrame


@dataclass(frozen=True)
class Schedule:
    """How long to train: the user's word, or else the method's.

    Attributes:
        epochs: at most.
        patience: epochs without a better validation loss.
    """

    epochs: int
    patience: int

    @classmethod
    def of(cls, config: Config, method: Method | PatchMethod) -> Schedule:
        """Fill in what the recipe leaves to the method."""
        train = config.train
        return cls(train.epochs or method.epochs, train.patience or method.patience)

    def written_into(self, config: Config) -> Config:
        """Return the recipe with nothing left open."""
        update = {"epochs": self.epochs, "patience": self.patience}
        return config.model_copy(update={"train": config.train.model_copy(update=update)})


def mention(labelled: Labelled, progress: Progress) -> None:
    """Say which slides are left out, and why."""
    for slide_id, reason in sorted({**labelled.unusable, **labelled.unlabelled}.items()):
        progress.say(f"left out: {slide_id}: {reason}")


def order_classes(labels: pd.Series, positive: str | None) -> tuple[str, ...]:
    """Return the labels sorted, the positive one last.

    Raises:
        CohortError: there is only one label, or the positive one does not occur.
    """
    classes = sorted(set(labels))
    if len(classes) < 2:
        raise CohortError(
            f"all labelled slides are '{classes[0]}'", "give slides of two classes or more"
        )
    if positive is not None:
        if positive not in classes:
            raise CohortError(
                f"train.positive is '{positive}', but the labels are {', '.join(classes)}",
                "name one of them",
            )
        classes = [c for c in classes if c != positive] + [positive]
    return tuple(classes)


def cohort_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what of the cohort decides a training, in a set order."""
    columns = [c for c in ("slide_id", "patient_id", "label", "split") if c in table]
    ordered = table[columns].sort_values("slide_id")
    return [dict(zip(columns, row, strict=True)) for row in ordered.itertuples(index=False)]


def versions() -> dict[str, str]:
    """Return the versions of wsikit and the libraries that decide the numbers."""
    return {name: version(name) for name in VERSIONED}


def begin_run(
    run: RunFolder, config: Config, facts: RunFacts, table: pd.DataFrame, overwrite: bool
) -> pd.DataFrame:
    """Write the run's description and split, or find them as an earlier attempt left them.

    Returns:
        The split, with patient, label and fingerprint of each slide.

    Raises:
        StoreError: the folder holds a run by another recipe.
        CohortError: the cohort cannot be split as asked.
    """
    if run.begun:
        same = run.facts().recipe_id == facts.recipe_id
        if same and run.splits_csv.exists():
            return run.splits()
        if not same and not overwrite:
            raise StoreError(
                f"{run.path}: holds a run by another recipe (other settings, slides or labels)",
                "use --overwrite to replace it, or another folder with -o",
            )
    splits = _split(config, table)
    run.clear()
    run.begin(config, facts)
    write_table(run.splits_csv, splits)
    return splits


def sides_of(splits: pd.DataFrame, fold: int) -> Sides:
    """Return the slides of one fold."""
    of_fold = splits[splits["fold"] == fold]
    return Sides(*(of_fold[of_fold["split"] == side] for side in ("train", "val", "test")))


def fold_seed(seed: int, fold: int) -> int:
    """Return the seed of a fold's initial weights and order."""
    return seed * 1009 + fold


class EpochProgress:
    """Turn what a fit tells after each epoch into progress; to be given to the fit.

    Args:
        progress: told of each epoch.
        fold: which fold this is.
        epochs: at most so many; those saved by stopping early count as done at the end.
    """

    def __init__(self, progress: Progress, fold: int, epochs: int) -> None:
        self._progress = progress
        self._fold = fold
        self._epochs = epochs
        self._shown = 0

    def __call__(self, epoch: int, epochs: int, metrics: dict[str, Any]) -> None:
        """Report an epoch."""
        loss = metrics.get("val_loss")
        words = f"fold {self._fold}, epoch {epoch}" + (f", val loss {loss:.3f}" if loss else "")
        self._progress.advance(words, epoch - self._shown)
        self._shown = epoch

    def finish(self, best_epoch: int, val_loss: float) -> None:
        """Report the end of the fold."""
        words = f"fold {self._fold}: best epoch {best_epoch}, val loss {val_loss:.3f}"
        self._progress.advance(words, self._epochs - self._shown)


def _split(config: Config, table: pd.DataFrame) -> pd.DataFrame:
    """Cut the cohort, and note beside each slide what tells it from another of the same id."""
    train = config.train
    splits = make_splits(table, train.folds, config.seed, train.val_share, train.test_share)
    if "test" not in set(splits["split"]):
        raise CohortError(
            "the cohort's split column holds no test slide, so nothing could be measured",
            "mark some patients as 'test'",
        )
    known = table[["slide_id", "patient_id", "label", "fingerprint"]]
    return splits.merge(known, on="slide_id")
