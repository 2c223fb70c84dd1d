"""Fit by self-distillation, from pixels or on features; resumable as `fit_head` is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Generator, Tensor, nn

from wsikit.encoders.network import encoder_id
from wsikit.errors import CohortError
from wsikit.heads.instance import InstanceHead
from wsikit.heads.instance_pool import InstancePool
from wsikit.training.bags.bags import BagDataset
from wsikit.training.distillation.data import (
    DistilBatches,
    DistilData,
    Fetch,
    fetch_features,
    fetch_pictures,
    paired_plan,
)
from wsikit.training.distillation.module import DistilModule, Student
from wsikit.training.distillation.options import DistilOptions
from wsikit.training.distillation.views import FeatureViews, PixelViews
from wsikit.training.fits.fit import FitResult, resumable_fit, train_module
from wsikit.training.fits.folder import FitFolder
from wsikit.training.fits.module import BatchProgress
from wsikit.training.fits.record import FitRecord, Progress
from wsikit.training.patches.data import PatchSide
from wsikit.training.patches.fit import PatchFitFolder, PatchFitOptions
from wsikit.training.patches.network import PatchNetwork
from wsikit.training.patches.plan import PatchPlan, PatchSlide, validation_plan


@dataclass(frozen=True)
class Distillation:
    """Everything the user can set.

    Attributes:
        options: settings of any fit on patches; a step takes `batch_size` patches of either kind.
        distil: share, epsilon, momentum and so on.
        pool: how patches make a slide.
    """

    options: PatchFitOptions
    distil: DistilOptions
    pool: InstancePool


class DistilSide(NamedTuple):
    """One side of a split: its slides, of labels 0 (negative) and 1, and what reads them."""

    slides: Sequence[PatchSlide]
    fetch: Fetch


def distil_patches(
    network: PatchNetwork,
    train: PatchSide,
    val: PatchSide,
    settings: Distillation,
    views: PixelViews,
    folder: Path,
    encoder_file: Path,
    progress: Progress | None = None,
    batch_progress: BatchProgress | None = None,
    logs: Path | None = None,
) -> FitResult:
    """Train an encoder and a last layer from pixels; the student of the best epoch is left.

    What `fit_patches` promises holds here too: killed at any moment and called again, it ends in
    the same bytes. Teacher, bank and optimiser travel in the checkpoint; order, views and dropout
    follow from seed, epoch and step.

    Args:
        network: the student, made the same way on every call for one folder.
        train: slides to learn from.
        val: slides that choose the best epoch, as slides; never those of a test fold.
        settings: see `Distillation`; with `options.augment` off, patches are seen as they are.
        views: how patches are changed.
        folder: as `fit_patches`.
        encoder_file: receives the encoder.
        progress: as `fit_head`.
        batch_progress: as `fit_patches`.
        logs: as `fit_head`.

    Raises:
        CohortError: a side is empty, or no training slide is positive, or none negative.
        StoreError: the folder holds another fit, or a damaged one.
        WeightsError: a finished fit's files are missing or damaged.
        WsikitError: a score is not finite.
    """
    shown_px = network.encoder.spec.input_px

    def view(pictures: Tensor, generator: Generator) -> Tensor:
        return views(pictures, generator, shown_px) if settings.options.augment else pictures

    student = Student(network, _run, view, network.hold_frozen)
    learnt, judging = (DistilSide(side.slides, fetch_pictures(side)) for side in (train, val))
    files = PatchFitFolder(folder, network, encoder_file)
    facts = [encoder_id(network.encoder), asdict(views)]
    return _fit(student, learnt, judging, settings, files, facts, progress, batch_progress, logs)


def distil_features(
    head: InstanceHead,
    train: BagDataset,
    val: BagDataset,
    settings: Distillation,
    views: FeatureViews,
    folder: Path,
    progress: Progress | None = None,
    logs: Path | None = None,
) -> FitResult:
    """Train a head on features by self-distillation; the student of the best epoch is left.

    The same as `distil_patches`, but for the views: see `FeatureViews`. Memory beside the bags: the
    features of an epoch's patches; `options.per_slide` bounds them.

    Args:
        head: as `fit_head`; its `standardise` sees the training bags first, and those only.
        train: bags to learn from, of labels 0 (negative) and 1.
        val: bags that choose the best epoch.
        settings: see `Distillation`.
        views: how features are changed.
        folder: as `fit_head`.
        progress: as `fit_head`.
        logs: as `fit_head`.

    Raises:
        CohortError: a side is empty, or no training slide is positive, or none negative.
        StoreError: the folder holds another fit, or a damaged one.
        WsikitError: a score is not finite.
    """

    def view(features: Tensor, generator: Generator) -> Tensor:
        return views(features, generator, head.standardise.scale)

    def begin() -> None:
        head.standardise.fit(train[index].bag.features for index in range(len(train)))

    student = Student(head, _classify, view)
    files = FitFolder(folder)
    facts = [asdict(views)]
    return _fit(
        student, _bag_side(train), _bag_side(val), settings, files, facts, progress,
        logs=logs, begin=begin,
    )  # fmt: skip


def _fit(
    student: Student,
    train: DistilSide,
    val: DistilSide,
    settings: Distillation,
    files: FitFolder,
    facts: list[Any],
    progress: Progress | None,
    batch_progress: BatchProgress | None = None,
    logs: Path | None = None,
    begin: Callable[[], object] = lambda: None,
) -> FitResult:
    _check_sides(train, val)

    def work(record: FitRecord, resumes: bool) -> None:
        if not resumes:
            begin()
        _train(student, train, val, settings, record, resumes, batch_progress)

    recipe = _recipe(student.network, train, val, settings, facts)
    return resumable_fit(student.network, recipe, settings.options, files, work, progress, logs)


def _train(
    student: Student,
    train: DistilSide,
    val: DistilSide,
    settings: Distillation,
    record: FitRecord,
    resumes: bool,
    tell: BatchProgress | None,
) -> None:
    options = settings.options
    student.network.train()
    module = DistilModule(
        student, train.slides, val.slides, options, settings.distil, settings.pool, tell
    )
    judged = validation_plan(val.slides, options.per_slide, options.seed)
    data = DistilData(
        _batches(
            train, lambda epoch: paired_plan(train.slides, options.per_slide, options.seed, epoch),
            2 * options.batch_size,
        ),
        _batches(val, lambda _: judged, 2 * options.batch_size),
    )  # fmt: skip
    train_module(module, options, record, resumes, data)


def _batches(side: DistilSide, plan: Callable[[int], PatchPlan], size: int) -> DistilBatches:
    return DistilBatches(side.slides, plan, size, side.fetch)


def _bag_side(bags: BagDataset) -> DistilSide:
    """Count each slide's patches, and read its features from its bag."""
    numbers = {slide_id: n for n, slide_id in enumerate(bags.slide_ids)}
    slides = [
        PatchSlide(slide_id, label, bags.patches(n))
        for n, (slide_id, label) in enumerate(zip(bags.slide_ids, bags.labels, strict=True))
    ]
    return DistilSide(slides, fetch_features(slides, lambda i: bags[numbers[i]].bag.features))


def _check_sides(train: DistilSide, val: DistilSide) -> None:
    for name, side in (("train", train), ("val", val)):
        if not side.slides:
            raise CohortError(f"the {name} side of the split has no slide", "split again")
    for label, kind in enumerate(("negative", "positive")):
        if not any(slide.label == label for slide in train.slides):
            raise CohortError(
                f"the train side of the split has no {kind} slide",
                "split the cohort so that both kinds are in train",
            )


def _recipe(
    network: nn.Module,
    train: DistilSide,
    val: DistilSide,
    settings: Distillation,
    facts: list[Any],
) -> dict[str, Any]:
    """Say which fit this is, so that a folder is never continued as another."""
    shapes = [(name, list(tensor.shape)) for name, tensor in network.state_dict().items()]
    own = [asdict(settings.distil), asdict(settings.pool), *facts]
    sides = [list(train.slides), list(val.slides)]
    text = json.dumps([type(network).__name__, shapes, own, sides])
    return {
        "inputs": hashlib.sha256(text.encode()).hexdigest(),
        "options": settings.options.recipe(),
    }


def _run(network: nn.Module, pictures: Tensor) -> Tensor:
    logits: Tensor = network(pictures)
    return logits


def _classify(head: nn.Module, features: Tensor) -> Tensor:
    if not isinstance(head, InstanceHead):
        raise TypeError(f"expected an InstanceHead, not {type(head).__name__}")
    return head.patch_logits(features)
