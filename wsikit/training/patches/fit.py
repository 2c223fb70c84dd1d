"""Fit an encoder to patches that inherit their slides' labels, resumable as `fit_head` is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from wsikit.encoders.network import encoder_id
from wsikit.encoders.saved import save_encoder
from wsikit.errors import CohortError, ConfigError
from wsikit.training.fits.fit import FitOptions, FitResult, resumable_fit, train_module
from wsikit.training.fits.folder import FitFolder, load_weights
from wsikit.training.fits.module import BatchProgress
from wsikit.training.fits.options import check_word
from wsikit.training.fits.record import Chooses, FitRecord, Progress
from wsikit.training.patches.data import PatchData, PatchSide
from wsikit.training.patches.module import PatchModule
from wsikit.training.patches.network import PatchNetwork
from wsikit.training.patches.optimiser import OPTIMISERS, Optimiser, OptimiserName
from wsikit.training.patches.plan import patches_by_class
from wsikit.training.patches.rate import plateau_rate
from wsikit.training.patches.warp import NO_WARP, WarpRange


@dataclass(frozen=True)
class PatchFitOptions(FitOptions):
    """Settings of one fit on patches, beside those of any fit; `accumulate` counts batches.

    Attributes:
        batch_size: patches a step.
        per_slide: patches of a slide an epoch, at most; None for all.
        augment: whether training patches are turned by quarters and flipped.
        frozen: layers of the encoder, from the first, that keep their weights.
        optimiser: `adamw`, `adam` or `sgd`.
        momentum: of `sgd`.
        lr_factor: what the learning rate is multiplied by after `lr_patience` epochs that were no
            better; 1 leaves it.
        lr_patience: see there.
        choose: what of validation chooses the best epoch, and says what is better: `loss` or
            `accuracy`.
        quarters: whether turning goes by quarters; else patches are flipped alone.
        warp: how far training patches are moved beside that.
    """

    accumulate: int = 1
    batch_size: int = 64
    per_slide: int | None = 256
    augment: bool = True
    frozen: int = 0
    optimiser: OptimiserName = "adamw"
    momentum: float = 0.9
    lr_factor: float = 1.0
    lr_patience: int = 10
    choose: Chooses = "loss"
    quarters: bool = True
    warp: WarpRange = NO_WARP

    def __post_init__(self) -> None:
        super().__post_init__()
        check_word("train.patch.optimiser", self.optimiser, OPTIMISERS)
        check_word("train.patch.choose", self.choose, ("loss", "accuracy"))
        if not 0 <= self.momentum < 1:
            raise ConfigError(
                f"train.patch.momentum is {self.momentum}", "use a number from 0 to below 1"
            )
        if not 0 < self.lr_factor <= 1 or self.lr_patience < 1:
            raise ConfigError(
                f"train.patch.lr_factor is {self.lr_factor} after {self.lr_patience} epochs",
                "use a factor above 0, up to 1, after 1 epoch or more",
            )
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
        val: slides that choose the best epoch; never those of a test fold.
        options: settings.
        folder: receives `head.safetensors` (the classifier), `history.csv` and, last, `fit.json`.
        encoder_file: receives the encoder.
        progress: as `fit_head`.
        batch_progress: called with (epoch, batch) after each batch, those of validation included.
        logs: as `fit_head`.

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
    return resumable_fit(network, recipe, options, files, work, progress, logs, options.choose)


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
    optimiser = Optimiser(options.optimiser, options.lr, options.weight_decay, options.momentum)

    def rate() -> float:
        shortfalls = [record.shortfall(row) for row in record.rows]
        return plateau_rate(options.lr, shortfalls, options.lr_factor, options.lr_patience)

    module = PatchModule(network.train(), optimiser, class_weights, options.seed, tell, rate)
    data = PatchData(
        train,
        val,
        batch_size=options.batch_size,
        per_slide=options.per_slide,
        augment=options.augment,
        seed=options.seed,
        warp=options.warp,
        quarters=options.quarters,
    )
    train_module(module, options, record, resumes, data)


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
