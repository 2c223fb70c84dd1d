"""Bags read ahead are the same bags, in the same order, and never too many."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from wsikit.errors import SlideError
from wsikit.heads.bag import Bag
from wsikit.training.bags.bags import BagDataset, EpochSampler, bag_bytes
from wsikit.training.bags.loader import AHEAD, READERS, BagLoader
from wsikit.training.fits import fit as fit_file
from wsikit.training.fits.fit import FitOptions, fit_head

CPU = torch.device("cpu")
COUNT = 24


class Reading:
    """Make a bag from its name, slowly, and remember who has asked for what."""

    def __init__(self, seconds: float = 0.0, patches: int = 10) -> None:
        self.seconds = seconds
        self.patches = patches
        self.asked: list[str] = []
        self.threads: set[str] = set()

    def __call__(self, slide_id: str) -> Bag:
        self.asked.append(slide_id)
        self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        if slide_id == "bad":
            raise SlideError("slide 'bad' has no features", "extract them")
        features = torch.full((self.patches, 4), float(slide_id))
        return Bag(features, torch.zeros(self.patches, 2, dtype=torch.int64))


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("bags")]


def loader(reading: Reading, ids: list[str] | None = None, **options: int) -> BagLoader:
    ids = ids or [str(number) for number in range(COUNT)]
    data = BagDataset(ids, [0] * len(ids), reading, cache_bytes=0)
    return BagLoader(data, range(len(ids)), CPU, **options)


def test_order_is_that_of_the_sampler_each_epoch():
    sampler = EpochSampler(COUNT, seed=3)
    data = BagDataset([str(n) for n in range(COUNT)], [0] * COUNT, Reading(0.001))
    bags = BagLoader(data, sampler, CPU)
    assert len(bags) == COUNT
    orders = []
    for epoch in (0, 1):
        bags.sampler.set_epoch(epoch)
        orders.append([int(item.slide_id) for item in bags])
        assert orders[-1] == list(sampler)
    assert orders[0] != orders[1]


def test_bags_are_read_by_threads_while_this_one_works():
    reading = Reading(0.02)
    bags = loader(reading)
    start = time.perf_counter()
    for _ in bags:
        time.sleep(0.03)
    alone = COUNT * 0.05
    assert time.perf_counter() - start < alone
    assert threading.current_thread().name not in reading.threads
    assert bags.waited < 0.5 * COUNT * 0.02


@pytest.mark.parametrize(("budget", "ahead"), [(0, 1), (3, 3), (100, AHEAD * READERS)])
def test_no_more_is_read_ahead_than_the_budget_allows(budget: int, ahead: int):
    size = bag_bytes(Reading()("1"))
    reading = Reading()
    most = 0
    for done, _ in enumerate(loader(reading, ahead_bytes=budget * size), start=1):
        time.sleep(0.005)  # for the threads to read what they may
        most = max(most, len(reading.asked) - done)
    assert most <= max(ahead, READERS)
    assert most >= min(ahead, READERS, COUNT - 1)


def test_an_error_comes_in_its_place():
    bags = iter(loader(Reading(), ["1", "2", "bad", "3"]))
    assert [next(bags).slide_id, next(bags).slide_id] == ["1", "2"]
    with pytest.raises(SlideError, match="slide 'bad'"):
        next(bags)


def test_who_stops_early_leaves_no_thread_behind():
    reading = Reading(0.01)
    for _ in loader(reading):
        break
    until = time.monotonic() + 10
    while readers() and time.monotonic() < until:
        time.sleep(0.01)
    assert not readers()
    assert len(reading.asked) < COUNT


def test_a_fit_is_the_same_without_threads(tiny_head, make_bags, tmp_path, monkeypatch):
    class Plain(BagLoader):
        """Read each bag when it is asked for."""

        def __iter__(self):
            return (self._bags[index] for index in self.sampler)

    options = FitOptions(epochs=3, lr=1e-2, patience=3, device="cpu")
    for name in ("ahead", "plain"):
        if name == "plain":
            monkeypatch.setattr(fit_file, "BagLoader", Plain)
        fit_head(
            tiny_head(), make_bags(range(9)), make_bags(range(9, 14)), options, tmp_path / name
        )
    for file in ("head.safetensors", "history.csv"):
        assert (tmp_path / "ahead" / file).read_bytes() == (tmp_path / "plain" / file).read_bytes()
