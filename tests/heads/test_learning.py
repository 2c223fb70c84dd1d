"""Every head learns a bag problem that can be learned, and none that cannot."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from tests.conformance.head_conformance import fit
from wsikit.graphs.knn import knn_graph
from wsikit.heads.bag import Bag
from wsikit.heads.registry import HEADS, build_head

pytestmark = pytest.mark.usefixtures("one_thread")

FEATURES = 8
SMALLER: dict[str, dict[str, Any]] = {
    "clam_sb": {"embed": 128, "attention": 64},
    "graph_transformer": {"depth": 1},
    "trans_mil": {"embed": 32, "heads": 2, "landmarks": 8},
}
"""What makes the larger heads quick."""

TRAINING, HELD_OUT = 40, 60


@cache
def make_bags(seed: int, count: int) -> list[Bag]:
    """Every second bag holds a tenth of patches that are shifted."""
    generator = np.random.default_rng(seed)
    bags = []
    for number in range(count):
        size = int(generator.integers(20, 40))
        features = generator.normal(size=(size, FEATURES))
        if number % 2:
            features[generator.permutation(size)[: round(size / 10)], :4] += 4
        features = (features * 100 + 1000).astype(np.float32)
        rowcol = torch.stack([torch.arange(size) // 6, torch.arange(size) % 6], dim=1)
        graph = torch.from_numpy(knn_graph(features, 3)[0])
        bags.append(Bag(torch.from_numpy(features), rowcol, graph))
    return bags


def held_out_auc(name: str, seed: int, labels: np.ndarray) -> float:
    torch.manual_seed(seed)
    bags = make_bags(seed, len(labels))
    head = build_head(name, FEATURES, 2, **SMALLER.get(name, {}))
    fit(head, [bag.features for bag in bags])
    optimiser = torch.optim.Adam(head.parameters(), 2e-3)
    for _ in range(5):
        for number in torch.randperm(len(bags)).tolist():
            optimiser.zero_grad()
            target = torch.tensor(int(labels[number]))
            head.training_loss(bags[number], target).backward()
            optimiser.step()
    head.eval()
    with torch.no_grad():
        scores = [head(bag).logits.softmax(0)[1].item() for bag in make_bags(1000 + seed, HELD_OUT)]
    return float(roc_auc_score(np.arange(HELD_OUT) % 2, scores))


@pytest.mark.parametrize("name", list(HEADS))
def test_learns(name: str) -> None:
    assert min(held_out_auc(name, seed, np.arange(TRAINING) % 2) for seed in range(2)) > 0.9


@pytest.mark.parametrize("name", list(HEADS))
def test_learns_nothing_from_labels_that_say_nothing(name: str) -> None:
    # Half and half within each true class, so that not even chance ties the labels to the truth;
    # and each draw with its opposite: what the one happens to teach, the other teaches reversed.
    generator = np.random.default_rng(0)
    aucs = []
    for seed in range(3):
        labels = np.arange(TRAINING) // 2 % 2
        labels[0::2], labels[1::2] = (generator.permutation(labels[i::2]) for i in (0, 1))
        aucs += [held_out_auc(name, seed, labels), held_out_auc(name, seed, 1 - labels)]
    assert 0.35 < np.mean(aucs) < 0.65
