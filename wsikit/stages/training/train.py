"""Train: features, graphs and labels in, a run out.

Patients never straddle a split, the best epoch is chosen on validation slides, and the numbers in
`metrics.json` come from slides that chose nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from wsikit.config import Config
from wsikit.heads.bag import Head
from wsikit.heads.registry import HEADS
from wsikit.methods import METHODS, Method, PatchMethod, slide_method
from wsikit.stages.labelled import NO_TISSUE, Labelled, join_labels
from wsikit.stages.prediction.predict import prediction_row
from wsikit.stages.progress import Outcome, Progress, Silent
from wsikit.stages.run_folder import RunFacts, RunFolder, write_table
from wsikit.stages.stored_names import find_encoder_id, graph_id
from wsikit.stages.training.bags import OUTDATED, bag_loader, is_outdated
from wsikit.stages.training.begin_run import (
    STAGE,
    EpochProgress,
    Schedule,
    Sides,
    begin_run,
    check_devices,
    cohort_rows,
    fit_options,
    mention,
    order_classes,
    sides_of,
    versions,
)
from wsikit.stages.training.model_folder import keep_model
from wsikit.stages.training.run_heads import untrained_head
from wsikit.stages.training.split_file import read_split
from wsikit.stages.training.train_patches import run_patch_train
from wsikit.store.recipe import recipe_id
from wsikit.store.store import Store
from wsikit.training.bags.bags import BagCache, BagDataset
from wsikit.training.bags.predict import predict_bags
from wsikit.training.fits.device import resolve_device
from wsikit.training.fits.fit import FitOptions

ALGORITHM = 1


def run_train(
    store_path: Path,
    labels: Path,
    run_path: Path,
    config: Config,
    *,
    encoder: str | None = None,
    device: str = "auto",
    devices: int = 1,
    split: Path | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Train a method on a store's labelled slides and predict the held-out ones.

    A method that trains an encoder takes the store's patches instead of features; see
    `train_patches`.

    Args:
        store_path: a store with features, and graphs where the method needs them.
        labels: cohort CSV with `slide` or `slide_id`, `label`, and optional `patient_id`, `site`,
            `split` or `fold`.
        run_path: the run's folder; an unfinished training in it continues.
        config: the recipe.
        encoder: name or id of the features; default the recipe's `extract.encoder`.
        device: `auto`, `cpu` or `cuda`.
        devices: how many processes share the bags of each step; see `fit_head`.
        split: a run, or a `split.csv`, whose split is used again.
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
    check_devices(config.train.method, method, devices)
    given = None if split is None else read_split(split)
    config = config if given is None else given.written_into(config)
    schedule = Schedule.of(config, method)
    config = schedule.written_into(config)
    if isinstance(method, PatchMethod):
        return run_patch_train(
            store, method, schedule, labels, run_path, config,
            device=device, progress=progress, overwrite=overwrite, split=given,
        )  # fmt: skip
    encoder_id = find_encoder_id(store, encoder or config.extract.encoder)
    graph = graph_for(method, config, encoder_id)
    labelled = join_labels(store, labels, lambda i: lacking(store, i, encoder_id, graph))
    mention(labelled, progress)
    facts = run_facts(store, config, labelled, encoder_id, graph)
    method.check_classes(facts.classes)
    untrained_head(facts, config, 0)  # a wrong option is said now, before there is a folder
    run = RunFolder(run_path)
    splits = begin_run(
        run, config, facts, labelled.table, overwrite,
        store=store, progress=progress, split=given,
    )  # fmt: skip
    keep_model(store, run, facts, splits, progress)
    if run.trained(facts.folds):
        return Outcome(skipped=list(labelled.table["slide_id"]), failed=labelled.unusable)
    load = BagCache(bag_loader(store, encoder_id, graph))
    progress.start(STAGE, schedule.epochs * facts.folds)
    rows = []
    for fold in range(facts.folds):
        sides = sides_of(splits, fold)
        options = fit_options(config, schedule, fold, device, devices)
        head = _fit(run, facts, config, options, fold, sides, load, progress)
        rows += list(_held_out(head, load, sides.test, fold, facts, device))
    progress.finish()
    write_table(run.predictions_csv, pd.DataFrame(rows).sort_values("slide_id"))
    return Outcome(done=list(labelled.table["slide_id"]), failed=labelled.unusable)


def graph_for(method: Method, config: Config, encoder_id: str) -> str | None:
    """Return the id of the graphs a method needs; None where it needs none."""
    return graph_id(config.graph, encoder_id) if HEADS[method.head].needs_graph else None


def lacking(store: Store, slide_id: str, encoder_id: str, graph: str | None) -> str | None:
    """Say what a tiled slide lacks to be learnt from; None where it lacks nothing."""
    slide = store.slide(slide_id)
    if not slide.patch_count:
        return NO_TISSUE
    if encoder_id not in slide.encoder_ids():
        return f"has no features by {encoder_id}: run wsikit extract"
    if graph is not None and graph not in slide.graph_ids():
        return f"has no graph {graph}: run wsikit graph"
    if graph is not None and is_outdated(slide, encoder_id, graph):
        return f"{OUTDATED.format(graph)}: run wsikit graph --overwrite"
    return None


def run_facts(
    store: Store, config: Config, labelled: Labelled, encoder_id: str, graph: str | None
) -> RunFacts:
    """Return what identifies a training on these slides."""
    table = labelled.table
    classes = order_classes(table["label"], config.train.positive)
    slides = {i: store.slide(i) for i in table["slide_id"]}
    first = next(iter(slides.values()))
    features = {
        i: slide.derived_attributes(f"features/{encoder_id}").get("recipe_id")
        for i, slide in slides.items()
    }
    identity = recipe_id(
        {
            "algorithm": ALGORITHM,
            "train": config.train.model_dump(mode="json", exclude={"patch"}),
            "seed": config.seed,
            "features": features,
            "graph": graph,
            "cohort": cohort_rows(table),
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
        versions=versions(),
        dropped={**labelled.unusable, **labelled.unlabelled},
    )


def _fit(
    run: RunFolder,
    facts: RunFacts,
    config: Config,
    options: FitOptions,
    fold: int,
    sides: Sides,
    load: BagCache,
    progress: Progress,
) -> Head:
    told = EpochProgress(progress, fold, options.epochs)
    head = untrained_head(facts, config, fold)
    result = slide_method(facts.method).fit(
        head, bags_of(sides.train, facts, load), bags_of(sides.val, facts, load),
        options, config.train.head, run.fold(fold), told, run.fold_logs(fold),
    )  # fmt: skip
    told.finish(result.best_epoch, result.val_loss)
    return head


def bags_of(side: pd.DataFrame, facts: RunFacts, load: BagCache) -> BagDataset:
    """Return the labelled bags of one side of a split."""
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
