"""The networks of a run that trained an encoder: as they start, and as they were left."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd
import torch

from wsikit.config import Config, PatchTrainConfig
from wsikit.encoders.encoder import PRETRAINED, RANDOM, build_encoder
from wsikit.encoders.network import Encoder
from wsikit.encoders.saved import read_encoder
from wsikit.errors import CohortError, ConfigError, WeightsError
from wsikit.heads.am_softmax_classifier import PatchClassifier
from wsikit.methods import PatchMethod
from wsikit.stages.run_folder import RunFacts, RunFolder
from wsikit.stages.training.begin_run import fold_seed
from wsikit.store.store import Store
from wsikit.training.fits.folder import load_weights
from wsikit.training.patches.data import ReadPatch
from wsikit.training.patches.network import PatchNetwork
from wsikit.training.patches.network_input import read_network_input

AUTO = "auto"
HEAD = "head.safetensors"


def patch_reader(store: Store) -> ReadPatch:
    """Return a function that reads patches as networks see them; each slide is opened once."""
    opened = cache(store.slide)
    return lambda slide_id, index: read_network_input(opened(slide_id), index)


def starting_encoder(config: PatchTrainConfig, say: Callable[[str], None]) -> Encoder:
    """Build the encoder that training starts from.

    Args:
        config: which network, which weights, and the side of its pictures.
        say: told where `auto` found no published weights.

    Raises:
        ConfigError: there is no such encoder, or it cannot see pictures of that side.
        WeightsError: the weights are not at hand or are another network's.
    """
    encoder = _built(config, say)
    if config.input_px is None or config.input_px == encoder.spec.input_px:
        return encoder
    spec = replace(encoder.spec, input_px=config.input_px, features=encoder.features)
    other = Encoder(spec, encoder.backbone, encoder.weights)
    try:
        with torch.inference_mode():
            other(torch.zeros(1, 3, config.input_px, config.input_px, dtype=torch.uint8))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"train.patch.input_px is {config.input_px}, which {encoder.spec.name} cannot see "
            f"({str(error).splitlines()[0]})",
            f"leave it out for {encoder.spec.input_px}",
        ) from error
    return other


def _built(config: PatchTrainConfig, say: Callable[[str], None]) -> Encoder:
    if config.start is not None:
        return read_encoder(_start(config.start).encoder)
    name = config.encoder
    if name is None:
        raise ConfigError("no network is named", "set train.patch.encoder")
    if config.weights != AUTO:
        return build_encoder(name, config.weights)
    try:
        return build_encoder(name, PRETRAINED)
    except WeightsError as error:
        say(f"starting from random weights, since: {error.what}")
        return build_encoder(name, RANDOM)


def starting_network(
    start: Encoder, method: PatchMethod, facts: RunFacts, config: Config, fold: int
) -> PatchNetwork:
    """Put a last layer on a copy of the start: the start run's, or an untrained one.

    Seed and fold decide an untrained one.

    Raises:
        ConfigError: the start run tells other classes apart.
        WeightsError: its last layer is another method's.
    """
    classifier = _classifier(method, facts, config, fold)
    if config.train.patch.start is not None:
        start_run = _start(config.train.patch.start)
        classes = start_run.facts().classes
        if classes != facts.classes:
            raise ConfigError(
                f"train.patch.start tells {', '.join(classes)} apart, and the labels are "
                f"{', '.join(facts.classes)}",
                f"start from its encoder alone: train.patch.encoder=file:{start_run.path}",
            )
        load_weights(classifier, start_run.fold(0) / HEAD)
    return PatchNetwork(copy.deepcopy(start), classifier, config.train.patch.frozen)


def start_head_digest(start: str | None) -> str | None:
    """Return what tells one start's last layer from another's; None where there is no start."""
    return start and hashlib.sha256((_start(start).fold(0) / HEAD).read_bytes()).hexdigest()


def refuse_leak(start: str, splits: pd.DataFrame) -> None:
    """Refuse a start that was trained, or chosen, on patients who are held out now.

    Args:
        start: the run that training starts from.
        splits: of the training that begins; all its folds.

    Raises:
        CohortError: there is such a patient.
    """
    earlier = _start(start).splits()
    seen = set(earlier.loc[earlier["split"] != "test", "patient_id"])
    both = sorted(seen & set(splits.loc[splits["split"] == "test", "patient_id"]))
    if both:
        raise CohortError(
            f"patient '{both[0]}' and {len(both) - 1} more are held out, and {start} was trained "
            "on them",
            "give both cohorts a split column that agrees",
        )


def _start(start: str) -> RunFolder:
    """Return a finished run of one fold to start from.

    Raises:
        ConfigError: it has several folds, or is not finished.
        StoreError: it is no run.
    """
    run = RunFolder(Path(start).expanduser())
    if run.facts().folds > 1 or not run.trained(1) or not run.encoder.exists():
        raise ConfigError(
            f"train.patch.start: {start} is no finished run of one fold that trained an encoder",
            "finish it, or name another",
        )
    return run


def trained_network(
    run: RunFolder, method: PatchMethod, facts: RunFacts, config: Config, fold: int
) -> PatchNetwork:
    """Load the network of a fold, on the CPU and in evaluation mode.

    Raises:
        WeightsError: a file is missing or damaged.
    """
    encoder = read_encoder(encoder_file(run, facts.folds, fold))
    classifier = _classifier(method, facts, config, fold)
    load_weights(classifier, run.fold(fold) / HEAD)
    return PatchNetwork(encoder, classifier).eval()


def encoder_file(run: RunFolder, folds: int, fold: int) -> Path:
    """Return where a fold's encoder lies: of a single fold beside the run's other files."""
    return run.encoder if folds == 1 else run.fold(fold) / run.encoder.name


def _classifier(method: PatchMethod, facts: RunFacts, config: Config, fold: int) -> PatchClassifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(fold_seed(facts.seed, fold))
        return method.build(facts.in_features, len(facts.classes), config.train.head)
