"""Fit a head to labelled bags, best epoch by validation, resumable after a kill at any moment.

`resumable_fit` is what any fit shares; `fit_patches` of `patch_fit.py` is the other one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import lightning.pytorch as L
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn

from wsikit.errors import CohortError, ConfigError, StoreError, UsageError
from wsikit.heads.bag import Head
from wsikit.training.bags.bags import BagDataset, EpochSampler
from wsikit.training.bags.loader import BagLoader
from wsikit.training.bags.module import BagModule, balanced_weights
from wsikit.training.bags.share import ALONE, Share, ShareSampler
from wsikit.training.fits.curves import Curves
from wsikit.training.fits.device import resolve_device
from wsikit.training.fits.folder import FitFolder
from wsikit.training.fits.module import FitModule
from wsikit.training.fits.options import FitOptions, without_place
from wsikit.training.fits.processes import run_together
from wsikit.training.fits.quiet import quiet_lightning
from wsikit.training.fits.record import Chooses, FitRecord, Progress
from wsikit.training.fits.threads import fitting_threads

__all__ = [
    "FitOptions",
    "FitResult",
    "fit_device",
    "fit_head",
    "make_trainer",
    "restore",
    "resumable_fit",
    "train_module",
]


class FitResult(NamedTuple):
    """How a fit went.

    Attributes:
        best_epoch: the epoch whose weights were kept, from 1.
        epochs_run: how many were run.
        val_loss: of the best epoch.
        val_auc: of the best epoch; None where validation has one class.
        seconds: spent training, over all attempts.
    """

    best_epoch: int
    epochs_run: int
    val_loss: float
    val_auc: float | None
    seconds: float


@runtime_checkable
class Standardise(Protocol):
    """A submodule that learns the features' mean and spread before training."""

    fit: Callable[[Iterable[Tensor]], object]


def fit_head(
    head: Head,
    train: BagDataset,
    val: BagDataset,
    options: FitOptions,
    folder: Path,
    progress: Progress | None = None,
    logs: Path | None = None,
) -> FitResult:
    """Train a head and leave the best epoch's weights in it and in `folder`.

    On a CPU the outcome depends on the head's initial weights, the bags and `options` alone: killed
    at any moment and called again, it ends in the same `head.safetensors`, byte for byte. A
    finished folder is returned without training. Where the head has a submodule `standardise`
    with `fit`, that sees the training bags first, and those only.

    Args:
        head: made the same way on every call for one folder; changed in place, and left on the CPU
            in evaluation mode.
        train: bags to learn from.
        val: bags that choose the best epoch; never those of a test fold.
        options: settings.
        folder: receives `head.safetensors`, `history.csv` and, last, `fit.json`.
        progress: called with (epoch, epochs, metrics) after each epoch is saved.
        logs: receives the curves for TensorBoard; None for none.

    Raises:
        CohortError: a side is empty, or a class has no training slide.
        StoreError: the folder holds another fit, or a damaged one.
        UsageError: there are fewer GPUs than `options.devices`.
        WsikitError: the loss is not finite.
    """
    recipe = _recipe(head, train, val, options)

    def work(record: FitRecord, resumes: bool) -> None:
        _standardise(head, train, resumes)
        if options.devices == 1:
            _train(head, train, val, options, record, resumes)
        else:
            _train_together(head, train, val, options, record)

    return resumable_fit(head, recipe, options, FitFolder(folder), work, progress, logs)


def resumable_fit(
    network: nn.Module,
    recipe: dict[str, Any],
    options: FitOptions,
    files: FitFolder,
    work: Callable[[FitRecord, bool], None],
    progress: Progress | None = None,
    logs: Path | None = None,
    choose: Chooses = "loss",
) -> FitResult:
    """Train anything, or go on with it, or find it done; leave the best epoch in it and on disk.

    Args:
        network: changed in place, and left on the CPU in evaluation mode.
        recipe: `inputs` and `options`, plain values that say which fit this is.
        options: settings.
        files: the fit's folder.
        work: trains with Lightning, the record among its callbacks; told whether it goes on from
            the folder's checkpoint.
        progress: called with (epoch, epochs, metrics) after each epoch is saved.
        logs: receives the curves for TensorBoard; None for none.
        choose: what of validation chooses the best epoch.

    Raises:
        StoreError: the folder holds another fit, or a damaged one.
    """
    done = files.read_summary()
    if done is not None:
        return _finished(network, files, done, recipe)
    curves = None if logs is None else Curves(logs)
    record = FitRecord(files, recipe, options.epochs, options.patience, progress, curves, choose)
    resumes = restore(record, files)
    if not record.done:
        work(record, resumes)
    return _finish(network, files, record, options)


def _standardise(head: Head, train: BagDataset, resumes: bool) -> None:
    """Show a head that learns the features' mean and spread the training bags, once."""
    standardise = getattr(head, "standardise", None)
    if not resumes and isinstance(standardise, Standardise):
        standardise.fit(train[index].bag.features for index in range(len(train)))


def _train(
    head: Head,
    train: BagDataset,
    val: BagDataset,
    options: FitOptions,
    record: FitRecord,
    resumes: bool,
    share: Share = ALONE,
) -> None:
    device = fit_device(options)
    module = BagModule(
        head.train(),
        lr=options.lr,
        weight_decay=options.weight_decay,
        class_weights=_class_weights(train, val, options),
        seed=options.seed,
        share=share,
        train_bags=len(train),
        val_bags=len(val),
    )
    order = EpochSampler(len(train), options.seed)
    loaders = (
        BagLoader(train, ShareSampler(order, len(train), share), device),
        BagLoader(val, ShareSampler(range(len(val)), len(val), share), device),
    )
    with fitting_threads(train):
        train_module(module, options, record, resumes, loaders)


def train_module(
    module: FitModule,
    options: FitOptions,
    record: FitRecord,
    resumes: bool,
    data: L.LightningDataModule | tuple[Iterable[Any], Iterable[Any]],
) -> None:
    """Train with Lightning, leaving the random numbers of this process as they were.

    Args:
        module: what is trained.
        options: settings.
        record: takes down each epoch.
        resumes: whether to go on from the folder's checkpoint.
        data: what is learnt from and judged by: a data module, or two loaders.
    """
    device = fit_device(options)
    gpus = [torch.cuda.current_device()] if device.type == "cuda" else []
    train, val = (data, None) if isinstance(data, L.LightningDataModule) else data
    with quiet_lightning(), torch.random.fork_rng(devices=gpus):
        make_trainer(options, device, record).fit(
            module,
            train,
            val,
            ckpt_path=record.folder.checkpoint if resumes else None,
            weights_only=True,
        )


def _train_together(
    head: Head, train: BagDataset, val: BagDataset, options: FitOptions, record: FitRecord
) -> None:
    """Train in several processes; what they reached is read from the checkpoint they left."""
    fit_device(options)
    curves = record.curves
    work = partial(_train_share, head, train, val, options, record.folder, record.recipe, curves)
    run_together(options.devices, work, record.progress)
    restore(record, record.folder)


def _train_share(
    head: Head,
    train: BagDataset,
    val: BagDataset,
    options: FitOptions,
    files: FitFolder,
    recipe: dict[str, Any],
    curves: Curves | None,
    share: Share,
    tell: Progress,
) -> None:
    """Be one of several processes that train a head."""
    if fit_device(options).type == "cuda":
        torch.cuda.set_device(share.rank)  # else each process would also open the first GPU
    head = deepcopy(head)  # tensors come in shared memory, where every process would step for all
    record = FitRecord(files, recipe, options.epochs, options.patience, tell, curves)
    resumes = restore(record, files)
    _train(head, train, val, options, record, resumes, share)


def fit_device(options: FitOptions) -> torch.device:
    """Return where to train.

    Raises:
        ConfigError: the precision needs a GPU, and there is none.
        UsageError: there are fewer GPUs than devices asked for.
    """
    device = resolve_device(options.device)
    if device.type == "cuda" and options.devices > torch.cuda.device_count():
        raise UsageError(
            f"{options.devices} devices were asked for, and torch sees {torch.cuda.device_count()}",
            "use --devices with that number or fewer",
        )
    if device.type == "cpu" and options.precision == "16-mixed":
        raise ConfigError("train.precision 16-mixed needs a GPU", "use bf16-mixed or 32-true")
    return device


def make_trainer(options: FitOptions, device: torch.device, record: FitRecord) -> L.Trainer:
    """Set Lightning up to say nothing, the record its only callback.

    With several devices this is one of the processes of `run_together`. Not every head gives every
    parameter a gradient in every step, so torch has to look for those without one.
    """
    together = options.devices > 1
    return L.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=options.devices,
        strategy=DDPStrategy(find_unused_parameters=True) if together else "auto",
        use_distributed_sampler=False,
        precision=options.precision,
        # No other process than ours, also inside a SLURM or MPI job, whose variables Lightning
        # would follow.
        plugins=[LightningEnvironment()],
        max_epochs=options.epochs,
        accumulate_grad_batches=options.accumulate // options.devices,
        callbacks=[record],
        logger=False,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=record.folder.path,
    )


def _class_weights(train: BagDataset, val: BagDataset, options: FitOptions) -> list[float] | None:
    weights = balanced_weights(train.labels, 1 + max(train.labels + val.labels))
    return weights if options.class_weights == "balanced" else None


def _recipe(head: Head, train: BagDataset, val: BagDataset, options: FitOptions) -> dict[str, Any]:
    """Say which fit this is, so that a folder is never continued as another."""
    for name, bags in (("train", train), ("val", val)):
        if not len(bags):
            raise CohortError(f"the {name} side of the split has no slide", "split again")
    shapes = [(name, list(tensor.shape)) for name, tensor in head.state_dict().items()]
    sides = [[bags.slide_ids, bags.labels] for bags in (train, val)]
    text = json.dumps([type(head).__name__, shapes, sides])
    return {
        "inputs": hashlib.sha256(text.encode()).hexdigest(),
        "options": options.recipe(),
    }


def restore(record: FitRecord, files: FitFolder) -> bool:
    """Load an unfinished fit's record; False where there is none."""
    state = files.read_checkpoint()
    if state is None:
        return False
    try:
        own = state["callbacks"][record.state_key]
        _check_recipe(own["recipe"], record.recipe, files)
        record.load_state_dict(own)
    except (KeyError, TypeError) as error:
        raise StoreError(
            f"{files.checkpoint} is not a wsikit checkpoint", "delete it and train again"
        ) from error
    return True


def _check_recipe(found: Any, wanted: dict[str, Any], files: FitFolder) -> None:
    if found == wanted:
        return
    old, new = found["options"], wanted["options"]
    names = [f"train.{name}" for name in sorted(new) if old.get(name) != new[name]]
    differs = ", ".join(names) if names else "the head or the slides"
    raise StoreError(
        f"{files.path} holds a fit with other settings ({differs})",
        "give a new output folder, or delete this one",
    )


def _finished(
    network: nn.Module, files: FitFolder, summary: dict[str, Any], recipe: dict[str, Any]
) -> FitResult:
    try:
        found = {"inputs": summary["inputs"], "options": without_place(dict(summary["options"]))}
        _check_recipe(found, recipe, files)
        result = FitResult(*(summary[name] for name in FitResult._fields))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{files.summary} is not a fit's summary", "delete it") from error
    files.drop_checkpoint()
    files.read_weights(network)
    network.eval()
    return result


def _finish(
    network: nn.Module, files: FitFolder, record: FitRecord, options: FitOptions
) -> FitResult:
    best = record.best_row
    result = FitResult(
        best_epoch=best.epoch,
        epochs_run=len(record.rows),
        val_loss=best.val_loss,
        val_auc=best.val_auc,
        seconds=round(record.seconds, 3),
    )
    files.write_weights(record.best)
    record.write_tables()
    files.write_summary(
        {**result._asdict(), "inputs": record.recipe["inputs"], "options": asdict(options)}
    )
    files.drop_checkpoint()
    network.cpu().load_state_dict(record.best)
    network.eval()
    return result
