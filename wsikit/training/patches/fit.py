"""Fit an encoder to patches that inherit their slides' labels, resumable as `fit_head` is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wsikit.encoders.network import encoder_id
from wsikit.encoders.saved import save_encoder
from wsikit.errors import CohortError, ConfigError
from wsikit.training.fits.fit import FitOptions, FitResult, fit_device, make_trainer, resumable_fit
from wsikit.training.fits.folder import FitFolder, load_weights
from wsikit.training.fits.quiet import quiet_lightning
from wsikit.training.fits.record import FitRecord, Progress
from wsikit.training.patches.data import PatchData, PatchSide
from wsikit.training.patches.module import BatchProgress, PatchModule
from wsikit.training.patches.network import PatchNetwork
from wsikit.training.patches.plan import patches_by_class


@dataclass(frozen=True)
class PatchFitOptions(FitOptions):
    """Settings of one fit on patches, beside those of any fit; `accumulate` counts batches.

    Attributes:
        batch_size: patches a step.
        per_slide: patches of a slide an epoch, at most; None for all.
        augment: whether training patches are turned by quarters and flipped.
        frozen: layers of the encoder, from the first, that keep their weights.
    """

    accumulate: int = 1
    batch_size: int = 64
    per_slide: int | None = 256
    augment: bool = True
    frozen: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("batch_size", "per_slide"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"train.patch.{name} is {value}", "use a whole number from 1")


class PatchFitFolder(FitFolder):
    """Keep the classifier as `head.safetensors`, and the encoder as a file that names itself.

    Args:
        path: the fit's folder.
        network: the network that is fitted.
        encoder_file: where its encoder goes.
    """

    def __init__(self, path: Path, network: PatchNetwork, encoder_file: Path) -> None:
        super().__init__(path)
        self._network = network
        self._encoder_file = encoder_file

    def write_weights(self, state: Mapping[str, Tensor]) -> None:
        """Write both files: the same tensors give the same bytes."""
        self._network.cpu().load_state_dict(state)
        save_encoder(self._encoder_file, self._network.encoder)
        super().write_weights(self._network.classifier.state_dict())

    def read_weights(self, network: nn.Module) -> None:
        """Load both files; see the base class."""
        if not isinstance(network, PatchNetwork):
            raise TypeError(f"expected a PatchNetwork, not {type(network).__name__}")
        load_weights(network.classifier, self.weights)
        load_weights(network.encoder.backbone, self._encoder_file)


def fit_patches(
    network: PatchNetwork,
    train: PatchSide,
    val: PatchSide,
    options: PatchFitOptions,
    folder: Path,
    encoder_file: Path,
    progress: Progress | None = None,
    batch_progress: BatchProgress | None = None,
    logs: Path | None = None,
) -> FitResult:
    """Train a network and leave the best epoch's weights in it and on disk.

    On a CPU, with one number of threads, the outcome depends on the network's start, the patches
    and `options` alone: killed at any moment and called again, it ends in the same files, byte for
    byte. A finished folder is returned without training.

    Args:
        network: made the same way on every call for one folder; changed in place, and left on the
            CPU in evaluation mode.
        train: slides to learn from.
        val: slides that choose the best epoch by their loss; never those of a test fold.
        options: settings.
        folder: receives `head.safetensors` (the classifier), `history.csv` and, last, `fit.json`.
        encoder_file: receives the encoder.
        progress: called with (epoch, epochs, metrics) after each epoch is saved.
        batch_progress: called with (epoch, batch) after each batch, those of validation included.
        logs: receives the curves for TensorBoard; None for none.

    Raises:
        CohortError: a side is empty, or a class has no training slide.
        StoreError: the folder holds another fit, or a damaged one.
        WeightsError: a finished fit's files are missing or damaged.
        WsikitError: the loss is not finite.
    """
    weights = _class_weights(train, val, options)

    def work(record: FitRecord, resumes: bool) -> None:
        _train(network, train, val, options, weights, record, resumes, batch_progress)

    files = PatchFitFolder(folder, network, encoder_file)
    recipe = _recipe(network, train, val, options)
    return resumable_fit(network, recipe, options, files, work, progress, logs)


def _train(
    network: PatchNetwork,
    train: PatchSide,
    val: PatchSide,
    options: PatchFitOptions,
    class_weights: list[float],
    record: FitRecord,
    resumes: bool,
    tell: BatchProgress | None,
) -> None:
    device = fit_device(options)
    module = PatchModule(
        network.train(), options.lr, options.weight_decay, class_weights, options.seed, tell
    )
    data = PatchData(
        train,
        val,
        batch_size=options.batch_size,
        per_slide=options.per_slide,
        augment=options.augment,
        seed=options.seed,
    )
    gpus = [torch.cuda.current_device()] if device.type == "cuda" else []
    with quiet_lightning(), torch.random.fork_rng(devices=gpus):
        make_trainer(options, device, record).fit(
            module,
            datamodule=data,
            ckpt_path=record.folder.checkpoint if resumes else None,
            weights_only=True,
        )


def _class_weights(train: PatchSide, val: PatchSide, options: PatchFitOptions) -> list[float]:
    """Weigh classes so that the patches of each add the same to the loss of an epoch."""
    for name, side in (("train", train), ("val", val)):
        if not side.slides:
            raise CohortError(f"the {name} side of the split has no slide", "split again")
    classes = 1 + max(slide.label for slide in (*train.slides, *val.slides))
    counts = patches_by_class(train.slides, options.per_slide, classes)
    if not all(counts):
        raise CohortError(
            f"class number {counts.index(0)} has no training slide",
            "split the cohort so that every class is in train",
        )
    if options.class_weights == "none":
        return [1.0] * classes
    return [sum(counts) / (classes * count) for count in counts]


def _recipe(
    network: PatchNetwork, train: PatchSide, val: PatchSide, options: PatchFitOptions
) -> dict[str, Any]:
    """Say which fit this is, so that a folder is never continued as another."""
    classifier = network.classifier
    shapes = [(name, list(tensor.shape)) for name, tensor in classifier.state_dict().items()]
    facts = [
        encoder_id(network.encoder),
        type(classifier).__name__,
        shapes,
        {key: value for key, value in vars(classifier).items() if isinstance(value, float)},
        [list(side.slides) for side in (train, val)],
    ]
    return {
        "inputs": hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
        "options": options.recipe(),
    }
