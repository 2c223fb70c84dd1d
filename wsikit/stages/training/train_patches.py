"""Train an encoder: the store's patches with their slides' labels in, a run that is an encoder out.

Slides are split by patient before anything else, so that no patch of a held-out patient is learnt
from, and the best epoch is chosen on validation slides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wsikit.atomic import write_json
from wsikit.config import Config
from wsikit.encoders.network import Encoder, encoder_id
from wsikit.methods import PatchMethod
from wsikit.stages.labelled import NO_TISSUE, Labelled, join_labels
from wsikit.stages.prediction.predict import prediction_row
from wsikit.stages.progress import Outcome, Progress
from wsikit.stages.run_folder import RunFacts, RunFolder, write_table
from wsikit.stages.training.begin_run import (
    STAGE,
    EpochProgress,
    Schedule,
    Sides,
    begin_run,
    cohort_rows,
    fold_seed,
    mention,
    order_classes,
    sides_of,
    versions,
)
from wsikit.stages.training.model_folder import keep_model
from wsikit.stages.training.patch_network import (
    encoder_file,
    patch_reader,
    refuse_leak,
    start_head_digest,
    starting_encoder,
    starting_network,
)
from wsikit.stages.training.split_file import GivenSplit
from wsikit.store.recipe import recipe_id
from wsikit.store.store import Store
from wsikit.training.bags.predict import BagPrediction
from wsikit.training.fits.device import resolve_device
from wsikit.training.metrics.metrics import classification_metrics
from wsikit.training.patches.data import PatchSide, ReadPatch
from wsikit.training.patches.fit import PatchFitOptions
from wsikit.training.patches.network import PatchNetwork
from wsikit.training.patches.plan import PatchSlide, batches_of
from wsikit.training.patches.predict import predict_patches
from wsikit.training.patches.warp import WarpRange

ALGORITHM = 1

Scored = list[tuple[dict[str, str], BagPrediction]]
"""Patient and label of slides, with their scores."""


def run_patch_train(
    store: Store,
    method: PatchMethod,
    schedule: Schedule,
    labels: Path,
    run_path: Path,
    config: Config,
    *,
    device: str,
    progress: Progress,
    overwrite: bool,
    split: GivenSplit | None = None,
) -> Outcome:
    """Train an encoder on patches and measure it on held-out slides; see `run_train`.

    Writes what other runs hold, `encoder.safetensors` (with several folds one in each fold's
    folder), and `patch_metrics.json`: how single patches of validation and held-out slides fare
    against the labels of their slides.

    Raises:
        CohortError: the labels are wrong or cannot be split as asked.
        ConfigError: the network or an option is not there.
        StoreError: the run folder holds another training.
        WeightsError: the start's weights are not at hand.
    """
    labelled = join_labels(store, labels, lambda slide_id: _missing(store, slide_id))
    mention(labelled, progress)
    # What is wrong with the labels is said before weights are fetched.
    method.check_classes(order_classes(labelled.table["label"], config.train.positive))
    start = starting_encoder(config.train.patch, progress.say)
    facts = _facts(store, config, labelled, start)
    network = starting_network(start, method, facts, config, 0)  # a wrong option is said now
    run = RunFolder(run_path)
    splits = begin_run(
        run, config, facts, labelled.table, overwrite,
        store=store, progress=progress, split=split,
    )  # fmt: skip
    if config.train.patch.start is not None:
        refuse_leak(config.train.patch.start, splits)
    keep_model(store, run, facts, splits, progress)
    slides = list(labelled.table["slide_id"])
    if run.trained(facts.folds):
        return Outcome(skipped=slides, failed=labelled.unusable)
    counts = {slide_id: len(store.slide(slide_id).patches) for slide_id in slides}
    read = patch_reader(store)
    sides_by_fold = [sides_of(splits, fold) for fold in range(facts.folds)]
    progress.start(
        STAGE,
        sum(_batches(method, sides, facts, counts, schedule, config) for sides in sides_by_fold),
    )
    held_out: list[Scored] = []
    validation: list[Scored] = []
    for fold, sides in enumerate(sides_by_fold):
        if fold:
            network = starting_network(start, method, facts, config, fold)
        _fit(
            network, method, run, facts, config, schedule, fold, sides, counts, read, device,
            progress,
        )  # fmt: skip
        scored = [
            list(_scored(network, method, side, counts, read, device, config, progress))
            for side in (sides.val, sides.test)
        ]
        validation.append(scored[0])
        held_out.append(scored[1])
    progress.finish()
    write_json(run.patch_metrics_json, _patch_metrics(validation, held_out, facts, config))
    write_table(run.predictions_csv, _predictions(held_out, facts))
    progress.say(f"the encoder: {_how_to_use(run, facts.folds)}")
    return Outcome(done=slides, failed=labelled.unusable)


def _missing(store: Store, slide_id: str) -> str | None:
    slide = store.slide(slide_id)
    slide.require_pixels()
    return None if slide.patch_count else NO_TISSUE


def _facts(store: Store, config: Config, labelled: Labelled, start: Encoder) -> RunFacts:
    table = labelled.table
    identity = encoder_id(start)
    recipe = recipe_id(
        {
            "algorithm": ALGORITHM,
            "train": config.train.model_dump(mode="json", exclude={"patch": {"start"}}),
            "start_head": start_head_digest(config.train.patch.start),
            "seed": config.seed,
            "start": identity,
            "patches": {i: store.slide(i).recipe_id for i in table["slide_id"]},
            "cohort": cohort_rows(table),
        }
    )
    return RunFacts(
        recipe_id=recipe,
        method=config.train.method,
        classes=order_classes(table["label"], config.train.positive),
        encoder_id=identity,
        graph_id=None,
        in_features=start.features,
        folds=config.train.folds,
        seed=config.seed,
        tile_recipe=store.tile_recipe,
        versions=versions(),
        dropped={**labelled.unusable, **labelled.unlabelled},
    )


def _batches(
    method: PatchMethod,
    sides: Sides,
    facts: RunFacts,
    counts: dict[str, int],
    schedule: Schedule,
    config: Config,
) -> int:
    """Count all that is computed of a fold: every epoch, and the slides that are then scored."""
    scored = sum(
        _batches_of_slide(counts[slide_id], config)
        for side in (sides.val, sides.test)
        for slide_id in side["slide_id"]
    )
    return schedule.epochs * _batches_of_epoch(method, sides, facts, counts, config) + scored


def _batches_of_epoch(
    method: PatchMethod, sides: Sides, facts: RunFacts, counts: dict[str, int], config: Config
) -> int:
    """Count the batches that an epoch learns from and is judged by."""
    patch = config.train.patch
    train, val = (_slides(side, facts, counts) for side in (sides.train, sides.val))
    return method.epoch_batches(train, val, patch.per_slide, patch.batch_size)


def _batches_of_slide(patches: int, config: Config) -> int:
    return batches_of([patches], None, config.train.patch.batch_size)


def _fit(
    network: PatchNetwork,
    method: PatchMethod,
    run: RunFolder,
    facts: RunFacts,
    config: Config,
    schedule: Schedule,
    fold: int,
    sides: Sides,
    counts: dict[str, int],
    read: ReadPatch,
    device: str,
    progress: Progress,
) -> None:
    train, patch = config.train, config.train.patch
    options = PatchFitOptions(
        epochs=schedule.epochs,
        lr=train.lr,
        weight_decay=train.weight_decay,
        patience=schedule.patience,
        class_weights=train.class_weights,
        seed=fold_seed(config.seed, fold),
        device="cuda" if resolve_device(device).type == "cuda" else "cpu",
        precision=train.precision,
        batch_size=patch.batch_size,
        per_slide=patch.per_slide,
        augment=patch.augment,
        frozen=patch.frozen,
        optimiser=patch.optimiser,
        momentum=patch.momentum,
        lr_factor=patch.lr_factor,
        lr_patience=patch.lr_patience,
        choose=patch.choose,
        quarters=patch.quarters,
        warp=WarpRange(patch.rotate, patch.zoom, patch.shift),
    )
    told = EpochProgress(
        progress, fold, schedule.epochs, _batches_of_epoch(method, sides, facts, counts, config)
    )
    train_side, val_side = (
        PatchSide(_slides(side, facts, counts), read) for side in (sides.train, sides.val)
    )
    result = method.fit(
        network, train_side, val_side, options, train.head,
        run.fold(fold), encoder_file(run, facts.folds, fold), told, told.batch,
        run.fold_logs(fold),
    )  # fmt: skip
    told.finish(result.best_epoch, result.val_loss)


def _slides(side: pd.DataFrame, facts: RunFacts, counts: dict[str, int]) -> tuple[PatchSlide, ...]:
    return tuple(
        PatchSlide(slide_id, facts.classes.index(label), counts[slide_id])
        for slide_id, label in zip(side["slide_id"], side["label"], strict=True)
    )


def _scored(
    network: PatchNetwork,
    method: PatchMethod,
    side: pd.DataFrame,
    counts: dict[str, int],
    read: ReadPatch,
    device: str,
    config: Config,
    progress: Progress,
) -> Iterator[tuple[dict[str, str], BagPrediction]]:
    on = resolve_device(device)
    network.to(on).eval()
    size, pool = config.train.patch.batch_size, method.pool(config.train.head)
    for slide_id, patient_id, label in zip(
        side["slide_id"], side["patient_id"], side["label"], strict=True
    ):
        known = {"patient_id": patient_id, "label": label}
        yield known, predict_patches(network, read, slide_id, counts[slide_id], on, size, pool)
        progress.tick(f"{slide_id}: scored", _batches_of_slide(counts[slide_id], config))


def _predictions(held_out: Sequence[Scored], facts: RunFacts) -> pd.DataFrame:
    rows = []
    for fold, scored in enumerate(held_out):
        for known, prediction in scored:
            row = known | {"fold": str(fold), "split": "test"}
            rows.append(
                prediction_row(prediction.slide_id, row, prediction.probabilities, facts.classes)
            )
    return pd.DataFrame(rows).sort_values("slide_id")


def _patch_metrics(
    validation: Sequence[Scored], held_out: Sequence[Scored], facts: RunFacts, config: Config
) -> dict[str, Any]:
    """Measure single patches against the labels they inherit; patients are resampled."""

    def measure(scored: Scored) -> dict[str, Any]:
        found = [p.patch_probabilities for _, p in scored if p.patch_probabilities is not None]
        patches = [len(probabilities) for probabilities in found]
        labels = [facts.classes.index(known["label"]) for known, _ in scored]
        metrics = classification_metrics(
            np.repeat(labels, patches),
            np.concatenate(found),
            np.repeat([known["patient_id"] for known, _ in scored], patches),
            bootstrap=config.train.bootstrap, seed=config.seed,
        )  # fmt: skip
        return {name: interval._asdict() for name, interval in metrics.items()}

    return {
        "pooled": measure([slide for scored in held_out for slide in scored]),
        "folds": {str(fold): measure(scored) for fold, scored in enumerate(held_out)},
        "validation": {str(fold): measure(scored) for fold, scored in enumerate(validation)},
    }


def _how_to_use(run: RunFolder, folds: int) -> str:
    """Say under which name the other commands know the encoder."""
    if folds == 1:
        return f"wsikit extract STORE --encoder file:{run.path}"
    return f"one a fold; wsikit extract STORE --encoder file:{run.fold(0)}"
