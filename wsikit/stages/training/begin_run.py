"""What every training does around its fits: order classes, split, begin a run or find it begun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

import pandas as pd

from wsikit.config import Config, Section
from wsikit.errors import CohortError, StoreError, UsageError, few
from wsikit.methods import Method, PatchMethod
from wsikit.stages.labelled import Labelled
from wsikit.stages.progress import Progress
from wsikit.stages.run_folder import RunFacts, RunFolder
from wsikit.stages.training.near_duplicates import SHOWN, find_alike
from wsikit.stages.training.split_file import GivenSplit
from wsikit.store.recipe import recipe_id
from wsikit.store.store import Store
from wsikit.training.fits.device import resolve_device
from wsikit.training.fits.options import FitOptions
from wsikit.training.splits.audit import Alike, alike_apart, as_words, audit_alike, audit_splits
from wsikit.training.splits.own_split import reused_split
from wsikit.training.splits.splits import make_splits

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
        encoder: the network to train; None of a method that trains none.
        settings: the method's own, of a method that trains an encoder; see `PatchMethod`.
    """

    epochs: int
    patience: int
    encoder: str | None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config, method: Method | PatchMethod) -> Schedule:
        """Fill in what the recipe leaves to the method."""
        train = config.train
        own = method if isinstance(method, PatchMethod) else None
        return cls(
            train.epochs or method.epochs,
            train.patience or method.patience,
            train.patch.encoder or (own.encoder if own else None),
            own.settings if own else {},
        )

    def written_into(self, config: Config) -> Config:
        """Return the recipe with nothing left open."""
        train = config.train
        own = _unsaid(train.patch, self.settings.get("patch", {}))
        patch = train.patch.model_copy(update={**own, "encoder": self.encoder})
        update = {
            **_unsaid(train, self.settings),
            "epochs": self.epochs, "patience": self.patience, "patch": patch,
        }  # fmt: skip
        return config.model_copy(update={"train": config.train.model_copy(update=update)})


def _unsaid(section: Section, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a method's settings that the user's recipe does not name."""
    return {key: value for key, value in settings.items() if key not in section.model_fields_set}


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
    names = ("slide_id", "patient_id", "label", "split", "fold", "site")
    columns = [c for c in names if c in table]
    ordered = table[columns].sort_values("slide_id")
    return [dict(zip(columns, row, strict=True)) for row in ordered.itertuples(index=False)]


def versions() -> dict[str, str]:
    """Return the versions of wsikit and the libraries that decide the numbers."""
    return {name: version(name) for name in VERSIONED}


def fit_options(
    config: Config, schedule: Schedule, fold: int, device: str, devices: int = 1
) -> FitOptions:
    """Return the settings of one fold's fit."""
    train = config.train
    return FitOptions(
        epochs=schedule.epochs,
        lr=train.lr,
        weight_decay=train.weight_decay,
        accumulate=train.accumulate,
        patience=schedule.patience,
        class_weights=train.class_weights,
        seed=fold_seed(config.seed, fold),
        device="cuda" if resolve_device(device).type == "cuda" else "cpu",
        devices=devices,
        precision=train.precision,
    )


def check_devices(name: str, method: Method | PatchMethod, devices: int) -> None:
    """Refuse several devices for a method that does not deal its bags out to them.

    Raises:
        UsageError: it does not.
    """
    if devices > 1 and type(method).fit is not Method.fit:
        raise UsageError(f"method '{name}' trains on one device", "leave --devices out")


def begin_run(
    run: RunFolder,
    config: Config,
    facts: RunFacts,
    table: pd.DataFrame,
    overwrite: bool,
    *,
    store: Store,
    progress: Progress,
    split: GivenSplit | None = None,
) -> pd.DataFrame:
    """Write the run's description and split, or find them as an earlier attempt left them.

    Args:
        run: the run's folder.
        config: the recipe.
        facts: what identifies the run.
        table: the slides that take part.
        overwrite: replace a run by another recipe.
        store: where the slides are, so that copies can be found by their looks.
        progress: told what the user should know of the split.
        split: taken over, instead of making one.

    Returns:
        The split, with patient, label and fingerprint of each slide.

    Raises:
        StoreError: the folder holds a run by another recipe.
        CohortError: the cohort cannot be split as asked, or something stands on two sides.
    """
    if split is not None:
        both = {"training": facts.recipe_id, "split": split.rows()}
        facts = replace(facts, recipe_id=recipe_id(both))
    if run.begun:
        same = run.facts().recipe_id == facts.recipe_id
        if same and run.splits_csv.exists():
            try:
                return run.splits()
            except StoreError:  # it is damaged: --overwrite begins the run anew
                if not overwrite:
                    raise
        if not same and not overwrite:
            raise StoreError(
                f"{run.path}: holds a run by another recipe (other settings, slides or labels)",
                "use --overwrite to replace it, or another folder with -o",
            )
    splits = split_cohort(config, table, store, progress, split)
    run.clear()
    run.begin(config, facts, splits)
    return splits


def split_cohort(
    config: Config,
    table: pd.DataFrame,
    store: Store,
    progress: Progress,
    split: GivenSplit | None = None,
) -> pd.DataFrame:
    """Cut the cohort or take a split over, audit it, and note what tells slides apart.

    Args:
        config: the recipe.
        table: the slides that take part.
        store: where they are.
        progress: told what the user should know.
        split: taken over, instead of making one.

    Raises:
        CohortError: it cannot be cut as asked, or something stands on two sides.
    """
    train = config.train
    if split is None:
        splits = make_splits(
            table, train.folds, config.seed, train.val_share, train.test_share,
            train.site_preserved, progress.say,
        )  # fmt: skip
    else:
        splits = reused_split(split.table, as_words(table), split.where)
        audit_splits(splits, table, sites_apart=train.site_preserved is True)
    if "test" not in set(splits["split"]):
        raise CohortError(
            "the cohort's split column holds no test slide, so nothing could be measured",
            "mark some patients as 'test'",
        )
    _audit_looks(splits, store, train.near_duplicates == "allow", progress)
    known = table[["slide_id", "patient_id", "label", "fingerprint"]]
    return splits.merge(known, on="slide_id")


def _audit_looks(splits: pd.DataFrame, store: Store, allowed: bool, progress: Progress) -> None:
    """Find copies on two sides; where they are allowed, only say so."""
    slide_ids = sorted(set(splits["slide_id"]))
    alike, unseen = find_alike(store, slide_ids)
    if unseen:
        words = "not looked at for copies (no thumbnail of a slide to tell by)"
        progress.say(f"{words}: {few(unseen, SHOWN)}")
    apart = [pair for pair, _ in alike_apart(splits, alike)]
    if apart:
        _say_pairs(apart, progress)
    if not allowed:
        audit_alike(splits, alike)


def _say_pairs(pairs: Sequence[Alike], progress: Progress) -> None:
    for pair in pairs[:SHOWN]:
        progress.say(
            f"look like copies, on two sides: '{pair.one}' and '{pair.other}' "
            f"(likeness {pair.likeness:.2f})"
        )
    if len(pairs) > SHOWN:
        progress.say(f"and {len(pairs) - SHOWN} more pairs")


def sides_of(splits: pd.DataFrame, fold: int) -> Sides:
    """Return the slides of one fold."""
    of_fold = splits[splits["fold"] == fold]
    return Sides(*(of_fold[of_fold["split"] == side] for side in ("train", "val", "test")))


def fold_seed(seed: int, fold: int) -> int:
    """Return the seed of a fold's initial weights and order."""
    return seed * 1009 + fold


class EpochProgress:
    """Turn what a fit tells into progress; to be given to the fit.

    Args:
        progress: told of each epoch, and of each batch that the fit tells of.
        fold: which fold this is.
        epochs: at most so many; those saved by stopping early count as done at the end.
        batches: units of progress that an epoch has: its batches, where the fit tells of them.
    """

    def __init__(self, progress: Progress, fold: int, epochs: int, batches: int = 1) -> None:
        self._progress = progress
        self._fold = fold
        self._epochs = epochs
        self._batches = batches
        self._shown = 0

    def __call__(self, epoch: int, epochs: int, metrics: dict[str, Any]) -> None:
        """Report an epoch."""
        loss = metrics.get("val_loss")
        words = f"fold {self._fold}, epoch {epoch}" + (f", val loss {loss:.3f}" if loss else "")
        self._progress.advance(words, self._since(epoch * self._batches))

    def batch(self, epoch: int, batch: int) -> None:
        """Report a batch; both are counted from 1."""
        words = f"fold {self._fold}, epoch {epoch}: batch {batch} of {self._batches}"
        self._progress.tick(words, self._since((epoch - 1) * self._batches + batch))

    def finish(self, best_epoch: int, val_loss: float) -> None:
        """Report the end of the fold."""
        words = f"fold {self._fold}: best epoch {best_epoch}, val loss {val_loss:.3f}"
        self._progress.advance(words, self._since(self._epochs * self._batches))

    def _since(self, units: int) -> int:
        """Return how many units are new, of so many that are done."""
        new, self._shown = units - self._shown, units
        return new
