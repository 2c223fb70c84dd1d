"""Made-up slides of which the positive ones hold some patches of another kind."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from tests.training.patch_pictures import PX
from wsikit.heads.bag import Bag
from wsikit.training.bags.bags import BagDataset
from wsikit.training.patches.data import PatchSide
from wsikit.training.patches.plan import PatchSlide
from wsikit.types import UInt8Image

SHARE = 0.25
PATCHES = 24
WIDTH = 6


def kinds(slide_id: str, count: int) -> NDArray[np.bool_]:
    """Which patches of a slide are of the positive kind: a quarter of those of odd slides."""
    number = int(slide_id)
    found = np.zeros(count, bool)
    if number % 2:
        found[np.random.default_rng(number).permutation(count)[: round(SHARE * count)]] = True
    return found


def patches_of(slide_id: str) -> int:
    """How many patches a slide has."""
    return PATCHES + int(slide_id) % 3


@cache
def read_mixed(slide_id: str, index: int) -> UInt8Image:
    """Noise, finer in patches of the positive kind; brightness is the slide's and tells nothing."""
    number = int(slide_id)
    rng = np.random.default_rng([number, index])
    grain = 1 if kinds(slide_id, patches_of(slide_id))[index] else 4
    noise = rng.integers(0, 180, (PX // grain, PX // grain, 3), dtype=np.uint8)
    brightness = 20 + 5 * (number * 7 % 11)
    return np.kron(noise, np.ones((grain, grain, 1), np.uint8)) + np.uint8(brightness)


def mixed_side(numbers: Sequence[int], labels: Sequence[int] | None = None) -> PatchSide:
    """The slides of these numbers, labelled by parity unless told otherwise."""
    given = [n % 2 for n in numbers] if labels is None else labels
    slides = [
        PatchSlide(str(n), label, patches_of(str(n)))
        for n, label in zip(numbers, given, strict=True)
    ]
    return PatchSide(tuple(slides), read_mixed)


@cache
def mixed_bag(slide_id: str) -> Bag:
    """The same as features: a shift by three standard deviations marks the positive kind."""
    count = patches_of(slide_id)
    rng = np.random.default_rng(int(slide_id))
    features = rng.normal(size=(count, WIDTH))
    features[kinds(slide_id, count), :2] += 3
    scaled = (100 * features + 1000).astype(np.float32)
    return Bag(torch.from_numpy(scaled), torch.zeros(count, 2, dtype=torch.int64))


def mixed_bags(numbers: Sequence[int], labels: Sequence[int] | None = None) -> BagDataset:
    """Bags of these slides, labelled by parity unless told otherwise."""
    given = [n % 2 for n in numbers] if labels is None else labels
    return BagDataset([str(n) for n in numbers], given, mixed_bag)
