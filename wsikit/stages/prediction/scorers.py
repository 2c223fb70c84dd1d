"""Score slides with a run's folds, whatever its method takes in: features or pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from wsikit.methods import METHODS, PatchMethod
from wsikit.stages.run_folder import RunFacts, RunFolder
from wsikit.stages.training.bags import bag_loader
from wsikit.stages.training.patch_network import patch_reader, trained_network
from wsikit.stages.training.run_heads import trained_heads
from wsikit.store.store import Store
from wsikit.training.bags.predict import BagPrediction, predict_bag
from wsikit.training.patches.predict import predict_patches

ScoreSlide = Callable[[str, Sequence[int]], list[BagPrediction]]
"""Score a slide id by the models of some folds, one prediction a fold."""


def slide_scorer(store: Store, run: RunFolder, facts: RunFacts, device: torch.device) -> ScoreSlide:
    """Load a run's models.

    Raises:
        WeightsError: a fold's weights are missing or damaged.
    """
    method = METHODS[facts.method]
    if isinstance(method, PatchMethod):
        return _patch_scorer(store, run, method, facts, device)
    return _bag_scorer(store, run, facts, device)


def _bag_scorer(store: Store, run: RunFolder, facts: RunFacts, device: torch.device) -> ScoreSlide:
    heads = trained_heads(run, facts)
    for head in heads:
        head.to(device).eval()
    load = bag_loader(store, facts.encoder_id, facts.graph_id)

    def score(slide_id: str, folds: Sequence[int]) -> list[BagPrediction]:
        bag = load(slide_id)
        return [predict_bag(heads[fold], slide_id, bag, device) for fold in folds]

    return score


def _patch_scorer(
    store: Store, run: RunFolder, method: PatchMethod, facts: RunFacts, device: torch.device
) -> ScoreSlide:
    config = run.config()
    pool = method.pool(config.train.head)
    networks = [
        trained_network(run, method, facts, config, fold).to(device) for fold in range(facts.folds)
    ]
    read = patch_reader(store)

    def score(slide_id: str, folds: Sequence[int]) -> list[BagPrediction]:
        count = len(store.slide(slide_id).patches)
        size = config.train.patch.batch_size
        return [
            predict_patches(networks[fold], read, slide_id, count, device, size, pool)
            for fold in folds
        ]

    return score
