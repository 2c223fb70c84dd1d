"""Every method on features, killed and started again, ends in the same bytes: two labels or three.

Heads draw random numbers (dropout, sampled patches) and keep buffers; whatever of that a checkpoint
or a step's seed did not cover would show here.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.conformance.head_conformance import FEATURES, ring_bag
from wsikit.heads.bag import Bag
from wsikit.methods import METHODS, Method, slide_method
from wsikit.training.bags.bags import BagDataset
from wsikit.training.fits.fit import FitOptions, FitResult

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = [name for name in METHODS if type(METHODS[name]) is Method]
CASES = [(name, classes) for name in NAMES for classes in (2, 3)] + [("torchmil:CLAM_SB", 2)]

# Steps of three slides, of which the last of an epoch has one.
OPTIONS = FitOptions(epochs=3, lr=1e-2, accumulate=3, patience=3, device="cpu")


class Killed(BaseException):
    """Stands for a kill."""


def bags(numbers: range, classes: int) -> BagDataset:
    """Bags whose first patches are shifted along the axis of their class."""

    def load(slide_id: str) -> Bag:
        number = int(slide_id)
        bag = ring_bag(8 + number % 5, number)
        bag.features[:4, number % classes] += 2
        return bag

    return BagDataset([str(n) for n in numbers], [n % classes for n in numbers], load)


def fit(name: str, classes: int, folder: Path, killed_after: int | None = None) -> FitResult:
    def tell(epoch: int, *_: object) -> None:
        if epoch == killed_after:
            raise Killed

    method = slide_method(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = method.build(FEATURES, classes, {})
    train, val = bags(range(7), classes), bags(range(50, 56), classes)
    return method.fit(head, train, val, OPTIONS, {}, folder, tell)


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_killed_after_an_epoch_it_ends_in_the_same_bytes(
    name: str, classes: int, tmp_path: Path
) -> None:
    if name.startswith("torchmil"):
        pytest.importorskip("torchmil")
    whole = fit(name, classes, tmp_path / "whole")
    with pytest.raises(Killed):
        fit(name, classes, tmp_path / "cut", killed_after=1 + classes % 2)
    torch.rand(5)  # another process has other random numbers
    again = fit(name, classes, tmp_path / "cut")
    assert again[:4] == whole[:4]
    for file in ("head.safetensors", "history.csv"):
        one, other = ((tmp_path / run / file).read_bytes() for run in ("whole", "cut"))
        assert one == other, file
