"""Synthetic bags and a head small enough to train in a second."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

from wsikit.heads.bag import Bag, BagScores, Head
from wsikit.training.bags.bags import BagDataset

WIDTH = 4


class Standardise(nn.Module):
    """Remember the mean of every feature and what it was fitted on."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(WIDTH))
        self.fitted_on = 0

    def fit(self, bags: Iterable[Tensor]) -> None:
        every = list(bags)
        self.fitted_on += len(every)
        self.mean = torch.cat(every).mean(0)

    def forward(self, features: Tensor) -> Tensor:
        return features - self.mean


class TinyHead(Head):
    """Attention pooling over four features, with dropout so that random numbers matter."""

    def __init__(self, seed: int = 0, classes: int = 2) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.standardise = Standardise()
            self.score = nn.Linear(WIDTH, 1)
            self.classify = nn.Linear(WIDTH, classes)
            self.drop = nn.Dropout(0.25)

    def forward(self, bag: Bag) -> BagScores:
        features = self.drop(self.standardise(bag.features))
        attention = torch.softmax(self.score(features)[:, 0], dim=0)
        patches = self.classify(features)
        return BagScores(attention @ patches, patches, attention)


def load_bag(slide_id: str) -> Bag:
    """Make the bag of slide number n; odd slides have five shifted patches among twelve or more."""
    number = int(slide_id)
    generator = torch.Generator().manual_seed(number)
    count = 12 + number % 5
    features = torch.randn(count, WIDTH, generator=generator)
    features[:5] += 2.0 * (number % 2)
    return Bag(features, torch.zeros(count, 2, dtype=torch.int64))


def bags_of(numbers: Iterable[int], labels: Iterable[int] | None = None) -> BagDataset:
    """Make a data set of these slides, labelled by parity unless told otherwise."""
    numbers = list(numbers)
    given = [n % 2 for n in numbers] if labels is None else list(labels)
    return BagDataset([str(n) for n in numbers], given, load_bag)


@pytest.fixture
def tiny_head() -> type[TinyHead]:
    return TinyHead


@pytest.fixture
def make_bags():
    return bags_of


@pytest.fixture
def load():
    return load_bag
