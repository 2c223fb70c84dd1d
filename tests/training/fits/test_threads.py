"""Small bags are fitted on one thread, large ones on all; afterwards all is as before."""

from __future__ import annotations

import pytest
import torch

from wsikit.heads.bag import Bag
from wsikit.training.bags.bags import BagDataset
from wsikit.training.fits.threads import SMALL_BAG, fitting_threads


@pytest.mark.parametrize("rows", [5, SMALL_BAG + 1])
def test_threads_follow_the_bags(rows: int) -> None:
    bag = Bag(torch.zeros(rows, 2), torch.zeros(rows, 2, dtype=torch.int64))
    before = torch.get_num_threads()
    with fitting_threads(BagDataset(["a"], [0], lambda _: bag)):
        assert torch.get_num_threads() == (1 if rows <= SMALL_BAG else before)
    assert torch.get_num_threads() == before
