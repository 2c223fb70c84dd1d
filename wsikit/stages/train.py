"""Train: features, graphs and labels in, a run out.

Patients never straddle a split, the best epoch is chosen on validation slides, and the numbers in
`metrics.json` come from slides that chose nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from wsikit.config import Config
from wsikit.errors import CohortError, StoreError
from wsikit.heads.bag import Head
from wsikit.heads.registry import HEADS
from wsikit.methods import METHODS
from wsikit.stages.bags import bag_loader
from wsikit.stages.labelled import Labelled, join_labels
from wsikit.stages.predict import prediction_row
from wsikit.stages.progress import Outcome, Progress, Silent
from wsikit.stages.run_folder import RunFacts, RunFolder, write_table
from wsikit.stages.run_heads import untrained_head
from wsikit.stages.stored_names import find_encoder_id, graph_id
from wsikit.store.recipe import recipe_id
from wsikit.store.store import Store
from wsikit.training.bags import BagCache, BagDataset
from wsikit.training.device import resolve_device
from wsikit.training.fit import FitOptions, fit_head
from wsikit.training.predict import predict_bags
from wsikit.training.splits import make_splits

STAGE = "train"
ALGORITHM = 1
VERSIONED = ("wsikit", "torch", "torch-geometric", "timm", "faiss-cpu", "lightning", "numpy")


@dataclass(frozen=True)
class Sides:
    """The slides of one fold, by what they are for."""

    train: pd.DataFrame
    val: pd.DataFrame
    test: pd.DataFrame


def run_train(
    store_path: Path,
    labels: Path,
    run_path: Path,
    config: Config,
    *,
    encoder: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Train a method on a store's labelled slides and predict the held-out ones.

    Args:
        store_path: a store with features, and graphs where the method needs them.
        labels: cohort CSV with `slide` or `slide_id`, `label`, and optional `patient_id`, `split`.
        run_path: the run's folder; an unfinished training in it continues.
        config: the recipe.
        encoder: name or id of the features; default the recipe's `extract.encoder`.
        device: `auto`, `cpu` or `cuda`.
        progress: told of each epoch.
        overwrite: replace a run made by another recipe.

    Returns:
        The slides that took part, and those labelled that could not.

    Raises:
        CohortError: the labels are wrong or cannot be split as asked.
        StoreError: the store lacks features, or the run folder holds another training.
    """
    progress = progress or Silent()
    store = Store(store_path)
    method = METHODS[config.train.method]
    encoder_id = find_encoder_id(store, encoder or config.extract.encoder)
    needs_graph = HEADS[method.head].needs_graph
    graph = graph_id(config.graph.kind, config.graph.k, encoder_id) if needs_graph else None
    labelled = join_labels(store, labels, lambda i: _missing(store, i, encoder_id, graph))
    _mention(labelled, progress)
    facts = _facts(store, config, labelled, encoder_id, graph)
    run = RunFolder(run_path)
    splits = _begin(run, config, facts, labelled.table, overwrite)
    if run.trained(facts.folds):
        return Outcome(skipped=list(labelled.table["slide_id"]), failed=labelled.unusable)
    load = BagCache(bag_loader(store, encoder_id, graph))
    progress.start(STAGE, config.train.epochs * facts.folds)
    rows = []
    for fold in range(facts.folds):
        sides = _sides(splits, fold)
        head = _fit(run, facts, config, fold, sides, load, device, progress)
        rows += list(_held_out(head, load, sides.test, fold, facts, device))
    progress.finish()
    write_table(run.predictions_csv, pd.DataFrame(rows).sort_values("slide_id"))
    return Outcome(done=list(labelled.table["slide_id"]), failed=labelled.unusable)


def _missing(store: Store, slide_id: str, encoder_id: str, graph: str | None) -> str | None:
    slide = store.slide(slide_id)
    if encoder_id not in slide.encoder_ids():
        return f"has no features by {encoder_id}: run wsikit extract"
    if graph is not None and graph not in slide.graph_ids():
        return f"has no graph {graph}: run wsikit graph"
    return None


def _mention(labelled: Labelled, progress: Progress) -> None:
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


def _facts(
    store: Store, config: Config, labelled: Labelled, encoder_id: str, graph: str | None
) -> RunFacts:
    table = labelled.table
    classes = order_classes(table["label"], config.train.positive)
    slides = {i: store.slide(i) for i in table["slide_id"]}
    first = next(iter(slides.values()))
    features = {
        i: slide.derived_attributes(f"features/{encoder_id}").get("recipe_id")
        for i, slide in slides.items()
    }
    columns = [c for c in ("slide_id", "patient_id", "label", "split") if c in table]
    identity = recipe_id(
        {
            "algorithm": ALGORITHM,
            "train": config.train.model_dump(mode="json"),
            "seed": config.seed,
            "features": features,
            "graph": graph,
            "cohort": table[columns].sort_values("slide_id").to_dict("records"),
        }
    )
    return RunFacts(
        recipe_id=identity,
        method=config.train.method,
        classes=classes,
        encoder_id=encoder_id,
        graph_id=graph,
        in_features=int(first.features(encoder_id).shape[1]),
        folds=config.train.folds,
        seed=config.seed,
        tile_recipe=store.tile_recipe,
        versions={name: version(name) for name in VERSIONED},
        dropped={**labelled.unusable, **labelled.unlabelled},
    )


def _begin(
    run: RunFolder, config: Config, facts: RunFacts, table: pd.DataFrame, overwrite: bool
) -> pd.DataFrame:
    """Write the run's description and split, or find them as an earlier attempt left them."""
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


def _sides(splits: pd.DataFrame, fold: int) -> Sides:
    of_fold = splits[splits["fold"] == fold]
    return Sides(*(of_fold[of_fold["split"] == side] for side in ("train", "val", "test")))


def _fit(
    run: RunFolder,
    facts: RunFacts,
    config: Config,
    fold: int,
    sides: Sides,
    load: BagCache,
    device: str,
    progress: Progress,
) -> Head:
    train = config.train
    options = FitOptions(
        epochs=train.epochs,
        lr=train.lr,
        weight_decay=train.weight_decay,
        accumulate=train.accumulate,
        patience=train.patience,
        class_weights=train.class_weights,
        seed=config.seed * 1009 + fold,
        device="cuda" if resolve_device(device).type == "cuda" else "cpu",
    )
    shown = 0

    def on_epoch(epoch: int, epochs: int, metrics: dict[str, Any]) -> None:
        nonlocal shown
        loss = metrics.get("val_loss")
        words = f"fold {fold}, epoch {epoch}" + (f", val loss {loss:.3f}" if loss else "")
        progress.advance(words, epoch - shown)
        shown = epoch

    head = untrained_head(facts, config, fold)
    result = fit_head(
        head, _dataset(sides.train, facts, load), _dataset(sides.val, facts, load),
        options, run.fold(fold), on_epoch,
    )  # fmt: skip
    words = f"fold {fold}: best epoch {result.best_epoch}, val loss {result.val_loss:.3f}"
    progress.advance(words, train.epochs - shown)
    return head


def _dataset(side: pd.DataFrame, facts: RunFacts, load: BagCache) -> BagDataset:
    labels = [facts.classes.index(label) for label in side["label"]]
    return BagDataset(list(side["slide_id"]), labels, load)


def _held_out(
    head: Head, load: BagCache, test: pd.DataFrame, fold: int, facts: RunFacts, device: str
) -> Iterator[dict[str, Any]]:
    predictions = predict_bags(head, load, list(test["slide_id"]), resolve_device(device))
    for known, prediction in zip(test.to_dict("records"), predictions, strict=True):
        row = {"patient_id": known["patient_id"], "label": known["label"]}
        where = {"fold": str(fold), "split": "test"}
        yield prediction_row(
            prediction.slide_id, row | where, prediction.probabilities, facts.classes
        )
