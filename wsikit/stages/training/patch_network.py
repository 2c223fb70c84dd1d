"""The networks of a run that trained an encoder: as they start, and as they were left."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from wsikit.config import Config, PatchTrainConfig
from wsikit.encoders.encoder import PRETRAINED, RANDOM, build_encoder
from wsikit.encoders.network import Encoder
from wsikit.encoders.saved import read_encoder
from wsikit.errors import ConfigError, WeightsError
from wsikit.heads.am_softmax_classifier import PatchClassifier
from wsikit.methods import PatchMethod
from wsikit.stages.run_folder import RunFacts, RunFolder
from wsikit.stages.training.begin_run import fold_seed
from wsikit.store.store import Store
from wsikit.training.fits.folder import load_weights
from wsikit.training.patches.data import ReadPatch
from wsikit.training.patches.network import PatchNetwork

AUTO = "auto"


def patch_reader(store: Store) -> ReadPatch:
    """Return a function that reads patches; each slide is opened once."""
    opened = cache(store.slide)
    return lambda slide_id, index: opened(slide_id).read_patch(index)


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
    """Put an untrained last layer on a copy of the start; seed and fold decide it."""
    classifier = _classifier(method, facts, config, fold)
    return PatchNetwork(copy.deepcopy(start), classifier, config.train.patch.frozen)


def trained_network(
    run: RunFolder, method: PatchMethod, facts: RunFacts, config: Config, fold: int
) -> PatchNetwork:
    """Load the network of a fold, on the CPU and in evaluation mode.

    Raises:
        WeightsError: a file is missing or damaged.
    """
    encoder = read_encoder(encoder_file(run, facts.folds, fold))
    classifier = _classifier(method, facts, config, fold)
    load_weights(classifier, run.fold(fold) / "head.safetensors")
    return PatchNetwork(encoder, classifier).eval()


def encoder_file(run: RunFolder, folds: int, fold: int) -> Path:
    """Return where a fold's encoder lies: of a single fold beside the run's other files."""
    return run.encoder if folds == 1 else run.fold(fold) / run.encoder.name


def _classifier(method: PatchMethod, facts: RunFacts, config: Config, fold: int) -> PatchClassifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(fold_seed(facts.seed, fold))
        return method.build(facts.in_features, len(facts.classes), config.train.head)
