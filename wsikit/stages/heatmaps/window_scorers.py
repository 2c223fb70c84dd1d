"""Score patches that are not in the store, as `wsikit predict` scores those that are.

Each moved grid is scored as a bag of its own: as many patches, as far apart, as the bags that were
trained on. What a head makes of a whole bag (a graph, positions, attention) is thus what it was
trained to make, and what it makes of a patch alone does not depend on the bag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from wsikit.config import GraphConfig
from wsikit.graphs.build import build_graph
from wsikit.graphs.search import Search
from wsikit.heads.bag import Bag
from wsikit.heads.instance_pool import InstancePool
from wsikit.methods import METHODS, PatchMethod
from wsikit.stages.heatmaps.windows import Shift, Windows, batches
from wsikit.stages.prediction.standing import mean_prediction
from wsikit.stages.training.model_folder import Model
from wsikit.stages.training.patch_network import trained_network
from wsikit.stages.training.run_heads import trained_heads
from wsikit.training.bags.predict import BagPrediction, predict_bag
from wsikit.training.fits.device import resolve_device
from wsikit.training.patches.encode_step import EncodeStep, place_encoder
from wsikit.types import UInt8Image

T = TypeVar("T")

Counted = Callable[[int], None]
"""Told of patches that are read and computed."""

ScoreShift = Callable[[str, Windows, Shift, Sequence[int], str, Counted], BagPrediction]
"""Score the reads of a moved grid: slide id, windows, grid, folds, stored feature type, count."""


def shift_scorer(model: Model, weights: str | None, device: str) -> ScoreShift:
    """Load what scores a run's patches.

    Args:
        model: the run.
        weights: the encoder's, where they are neither in the run nor to be had by name.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        WeightsError: weights are not at hand, or others than those of the training.
    """
    method = METHODS[model.facts.method]
    if isinstance(method, PatchMethod):
        return _network_scorer(model, method, resolve_device(device))
    return _bag_scorer(model, weights, resolve_device(device))


def _bag_scorer(model: Model, weights: str | None, device: torch.device) -> ScoreShift:
    name, config = model.facts.encoder_id, model.extract()
    encoder = place_encoder(model.encoder(weights).eval(), device, compiled=False)
    step = EncodeStep({name: encoder}, device, config.precision, config.batch_size)
    heads = [head.to(device).eval() for head in trained_heads(model.run, model.facts)]
    graph = model.graph() if model.facts.graph_id is not None else None

    def score(
        slide_id: str, windows: Windows, shift: Shift, folds: Sequence[int], dtype: str,
        counted: Counted,
    ) -> BagPrediction:  # fmt: skip
        rows = []
        for pixels in _ahead(map(_as_tensor, batches(windows, shift, config.batch_size))):
            rows.append(step.collect(step.launch(pixels, [name]))[name].astype(dtype))
            counted(len(pixels))
        features = np.concatenate(rows).astype(np.float32)
        bag = Bag(
            torch.from_numpy(features),
            torch.from_numpy(shift.rowcol),
            _edges(graph, features, shift),
        )
        return mean_prediction([predict_bag(heads[fold], slide_id, bag, device) for fold in folds])

    return score


def _edges(config: GraphConfig | None, features: np.ndarray, shift: Shift) -> Tensor | None:
    if config is None:
        return None
    search = Search(config.exact_up_to, config.min_recall)
    graph = build_graph(
        config.kind, features, shift.rowcol, config.k, symmetrise=config.symmetrise, search=search
    )
    return torch.from_numpy(graph.edge_index)


def _network_scorer(model: Model, method: PatchMethod, device: torch.device) -> ScoreShift:
    size, pool = model.config.train.patch.batch_size, method.pool(model.config.train.head)
    networks = [
        trained_network(model.run, method, model.facts, model.config, fold).to(device)
        for fold in range(model.facts.folds)
    ]

    def score(
        slide_id: str, windows: Windows, shift: Shift, folds: Sequence[int], dtype: str,
        counted: Counted,
    ) -> BagPrediction:  # fmt: skip
        rows: list[Tensor] = []
        for pixels in _ahead(map(_as_tensor, batches(windows, shift, size))):
            moved = pixels.to(device)
            each = [networks[fold].probabilities(moved) for fold in folds]
            rows.append(torch.stack(each).mean(dim=0).cpu())
            counted(len(pixels))
        return _pooled(slide_id, torch.cat(rows), pool)

    return score


def _pooled(slide_id: str, patches: Tensor, pool: InstancePool) -> BagPrediction:
    return BagPrediction(slide_id, pool.pooled(patches).numpy(), patches.numpy(), None)


def _as_tensor(pixels: Sequence[UInt8Image]) -> Tensor:
    """Return patches as (B, 3, H, W) uint8, in memory as extraction has them: (B, H, W, 3)."""
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield items, the next one being made in a thread while this one is used."""
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, items, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, items, None)
            yield item
