"""How many processor threads a fit takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from wsikit.training.bags.bags import BagDataset

SMALL_BAG = 2000
"""Patches up to which one thread is as quick as several."""


@contextmanager
def fitting_threads(train: BagDataset) -> Iterator[None]:
    """Compute on one thread where bags are small.

    A small bag's steps are too short to share. Several threads gain little on idle cores, and where
    other work keeps the cores busy they wait for each other: training the demo then took 7 times
    as long on two threads as on one.

    Args:
        train: the training bags; the first few are looked at.
    """
    sizes = [train.patches(index) for index in range(min(8, len(train)))]
    before = torch.get_num_threads()
    if max(sizes) <= SMALL_BAG:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
