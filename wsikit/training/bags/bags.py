"""Bags with labels, one at a time, kept in memory as long as they fit."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import NamedTuple

from torch.utils.data import Dataset, Sampler

from wsikit.errors import SlideError
from wsikit.heads.bag import Bag

LoadBag = Callable[[str], Bag]
"""Read the bag of a slide id."""

DEFAULT_CACHE_BYTES = 2 * 2**30


class LabelledBag(NamedTuple):
    """One training example: a bag on the CPU and its class number."""

    slide_id: str
    bag: Bag
    label: int


class BagCache:
    """Load each bag once, as long as the bags kept stay within a budget.

    Nothing is ever evicted: an epoch visits every bag once, so the bag evicted last is always the
    one wanted furthest ahead, and keeping the first ones serves a fixed share from memory. Share
    one cache between the data sets of all folds, and the budget holds for all of them together.
    Several threads may ask it at once.

    Args:
        load: reads a bag.
        max_bytes: what the kept bags may take up.
    """

    def __init__(self, load: LoadBag, max_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self._load = load
        self._max_bytes = self._left = max_bytes
        self._kept: dict[str, Bag] = {}
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[BagCache], tuple[LoadBag, int]]:
        """Go to another process without the bags kept, which that reads for itself."""
        return BagCache, (self._load, self._max_bytes)

    def __call__(self, slide_id: str) -> Bag:
        """Return the bag of a slide, from memory or from `load`.

        Raises:
            SlideError: the bag has no patch.
        """
        kept = self._kept.get(slide_id)
        if kept is not None:
            return kept
        bag = self._load(slide_id)
        if len(bag.features) == 0:
            raise SlideError(f"slide '{slide_id}' has no patches", "leave it out of the cohort")
        size = bag_bytes(bag)
        with self._lock:
            if size <= self._left and slide_id not in self._kept:
                self._left -= size
                self._kept[slide_id] = bag
        return bag


class BagDataset(Dataset[LabelledBag]):
    """The labelled bags of one side of a split.

    Args:
        slide_ids: N slide ids.
        labels: N class numbers from 0.
        load: reads a bag; wrapped in a `BagCache` unless it is one.
        cache_bytes: the budget of that cache.
    """

    def __init__(
        self,
        slide_ids: Sequence[str],
        labels: Sequence[int],
        load: LoadBag,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        if len(slide_ids) != len(labels):
            raise ValueError(f"{len(slide_ids)} slides and {len(labels)} labels")
        self.slide_ids = tuple(slide_ids)
        self.labels = tuple(int(label) for label in labels)
        self._load = load if isinstance(load, BagCache) else BagCache(load, cache_bytes)

    def __len__(self) -> int:
        return len(self.slide_ids)

    def __getitem__(self, index: int) -> LabelledBag:
        slide_id = self.slide_ids[index]
        return LabelledBag(slide_id, self._load(slide_id), self.labels[index])

    def patches(self, index: int) -> int:
        """Count the patches of one bag."""
        return len(self._load(self.slide_ids[index]).features)


class EpochSampler(Sampler[int]):
    """Shuffle by (seed, epoch) alone, so that a resumed fit meets the bags in the same order.

    Lightning calls `set_epoch` before each epoch, with the epoch it resumed at too.

    Args:
        count: how many bags.
        seed: the fit's seed.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch, counted from 0."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        order = list(range(self._count))
        random.Random(f"{self._seed}/{self._epoch}").shuffle(order)
        return iter(order)


def bag_bytes(bag: Bag) -> int:
    """Count the bytes of a bag's tensors."""
    edges = 0 if bag.edge_index is None else bag.edge_index.nbytes
    return int(bag.features.nbytes + bag.rowcol.nbytes + edges)
