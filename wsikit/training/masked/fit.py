"""Pre-train a UMAE, resumable as any fit is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wsikit.encoders.saved import save_encoder
from wsikit.encoders.umae.model import UMAE
from wsikit.errors import CohortError
from wsikit.training.bags.share import ALONE, Share
from wsikit.training.fits.curves import Curves
from wsikit.training.fits.fit import (
    FitResult,
    fit_device,
    restore,
    resumable_fit,
    train_module,
)
from wsikit.training.fits.folder import FitFolder
from wsikit.training.fits.module import BatchProgress
from wsikit.training.fits.processes import run_together
from wsikit.training.fits.record import FitRecord, Progress
from wsikit.training.masked.data import MaskedBatches, MaskedData, ReadPicture, Shown
from wsikit.training.masked.items import Specimen, training_items, validation_items
from wsikit.training.masked.module import MaskedModule
from wsikit.training.masked.options import MaskedOptions


class MaskedSides(NamedTuple):
    """What is learnt from and judged by.

    Attributes:
        train: specimens to learn from.
        val: specimens that choose the best epoch; never those of a test fold.
        read: reads a picture; can be pickled where several devices train.
    """

    train: tuple[Specimen, ...]
    val: tuple[Specimen, ...]
    read: ReadPicture


class MaskedFolder(FitFolder):
    """Keep the whole model as `head.safetensors`, and the encoder as a file that names itself.

    Args:
        path: the fit's folder.
        model: what is trained.
        encoder_file: where its encoder goes.
    """

    def __init__(self, path: Path, model: UMAE, encoder_file: Path) -> None:
        super().__init__(path)
        self._model, self._encoder_file = model, encoder_file

    def write_weights(self, state: Mapping[str, Tensor]) -> None:
        """Write both files: the same tensors give the same bytes."""
        self._model.cpu().load_state_dict(state)
        save_encoder(self._encoder_file, self._model.trained_encoder())
        super().write_weights(state)

    def read_weights(self, network: nn.Module) -> None:
        """Load the model, and write the encoder again where it is gone; see the base class."""
        super().read_weights(network)
        if not self._encoder_file.exists():
            save_encoder(self._encoder_file, self._model.trained_encoder())


def fit_masked(
    model: UMAE,
    sides: MaskedSides,
    options: MaskedOptions,
    folder: Path,
    encoder_file: Path,
    progress: Progress | None = None,
    batch_progress: BatchProgress | None = None,
    logs: Path | None = None,
) -> FitResult:
    """Pre-train a UMAE and leave the best epoch's weights in it and on disk.

    On a CPU, with one number of threads, the outcome depends on the model's start, the pictures and
    `options` alone: killed at any moment and called again, it ends in the same files, byte for
    byte. A finished folder is returned without training. Pairs, turns and masks of an epoch follow
    from seed, epoch and specimen.

    Args:
        model: made the same way on every call for one folder; changed in place, and left on the
            CPU in evaluation mode.
        sides: the specimens.
        options: settings.
        folder: receives `head.safetensors` (the whole model), `history.csv` and, last, `fit.json`.
        encoder_file: receives the encoder, for `file:` and for fine-tuning.
        progress: as `fit_head`.
        batch_progress: as `fit_patches`; with one device only.
        logs: as `fit_head`.

    Raises:
        CohortError: a side is empty.
        StoreError: the folder holds another fit, or a damaged one.
        WeightsError: a finished fit's files are missing or damaged.
        WsikitError: the loss is not finite.
    """
    for name, specimens in (("train", sides.train), ("val", sides.val)):
        if not specimens:
            raise CohortError(
                f"the {name} side has no specimen with pictures at all four magnifications",
                "split again, or set pretrain.missing to nearest",
            )
    recipe = _recipe(model, sides, options)

    def work(record: FitRecord, resumes: bool) -> None:
        if options.devices == 1:
            _train(model, sides, options, record, resumes, ALONE, batch_progress)
        else:
            _train_together(model, sides, options, record, encoder_file)

    files = MaskedFolder(folder, model, encoder_file)
    return resumable_fit(model, recipe, options, files, work, progress, logs)


def _train(
    model: UMAE,
    sides: MaskedSides,
    options: MaskedOptions,
    record: FitRecord,
    resumes: bool,
    share: Share,
    tell: BatchProgress | None = None,
) -> None:
    shown = Shown(model.spec, model.options.mask, model.size.patch_px, sides.read)
    judged = validation_items(sides.val, options.seed)
    data = MaskedData(
        MaskedBatches(
            lambda epoch: training_items(sides.train, options.augment, options.seed, epoch),
            shown, options.batch_size, share,
        ),
        MaskedBatches(lambda _: judged, shown, options.batch_size, share),
    )  # fmt: skip
    module = MaskedModule(model.train(), options, share, tell)
    train_module(module, options.for_trainer(), record, resumes, data)


def _train_together(
    model: UMAE,
    sides: MaskedSides,
    options: MaskedOptions,
    record: FitRecord,
    encoder_file: Path,
) -> None:
    """Train in several processes; what they reached is read from the checkpoint they left."""
    fit_device(options)
    work = partial(
        _train_share, model, sides, options, record.folder.path, encoder_file,
        record.recipe, record.curves,
    )  # fmt: skip
    run_together(options.devices, work, record.progress)
    restore(record, record.folder)


def _train_share(
    model: UMAE,
    sides: MaskedSides,
    options: MaskedOptions,
    folder: Path,
    encoder_file: Path,
    recipe: dict[str, Any],
    curves: Curves | None,
    share: Share,
    tell: Progress,
) -> None:
    """Be one of several processes that train a model."""
    if fit_device(options).type == "cuda":
        torch.cuda.set_device(share.rank)  # else each process would also open the first GPU
    model = deepcopy(model)  # tensors come in shared memory, where every process would step for all
    files = MaskedFolder(folder, model, encoder_file)
    record = FitRecord(files, recipe, options.epochs, options.patience, tell, curves)
    _train(model, sides, options, record, restore(record, files), share)


def _recipe(model: UMAE, sides: MaskedSides, options: MaskedOptions) -> dict[str, Any]:
    """Say which fit this is, so that a folder is never continued as another."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    facts: Sequence[Any] = [asdict(model.options), asdict(model.size), sides.train, sides.val]
    digest.update(json.dumps(facts).encode())
    return {"inputs": digest.hexdigest(), "options": options.recipe()}
