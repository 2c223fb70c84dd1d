from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from wsikit.errors import SlideError
from wsikit.heads.bag import Bag
from wsikit.training.bags.bags import BagCache, BagDataset, EpochSampler, bag_bytes


class Counting:
    """Load bags of a hundred patches and count how often."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, slide_id: str) -> Bag:
        self.calls.append(slide_id)
        return Bag(torch.full((100, 8), float(len(slide_id))), torch.zeros(100, 2).long())


SIZE = 100 * 8 * 4 + 100 * 2 * 8


def test_bytes_are_those_of_the_tensors():
    bag = Counting()("a")
    assert bag_bytes(bag) == SIZE
    edges = torch.zeros(2, 5, dtype=torch.int64)
    assert bag_bytes(Bag(bag.features, bag.rowcol, edges)) == SIZE + 80


def test_each_bag_is_loaded_once():
    load = Counting()
    data = BagDataset(["a", "bb", "ccc"], [0, 1, 0], load)
    for _ in range(3):
        assert [item.label for item in (data[0], data[1], data[2])] == [0, 1, 0]
    assert data[2].bag.features[0, 0] == 3
    assert load.calls == ["a", "bb", "ccc"]


def test_bags_beyond_the_budget_are_loaded_again():
    load = Counting()
    data = BagDataset(["a", "b", "c"], [0, 1, 0], load, cache_bytes=2 * SIZE)
    for _ in range(3):
        for index in range(3):
            data[index]
    assert load.calls == ["a", "b", "c", "c", "c"]


def test_one_cache_serves_several_data_sets():
    load = Counting()
    cache = BagCache(load)
    BagDataset(["a"], [0], cache)[0]
    BagDataset(["a"], [0], cache)[0]
    assert load.calls == ["a"]


def test_an_empty_bag_is_named():
    data = BagDataset(["void"], [0], lambda _: Bag(torch.empty(0, 8), torch.empty(0, 2).long()))
    with pytest.raises(SlideError, match="'void' has no patches"):
        data[0]


def test_ids_and_labels_must_pair():
    with pytest.raises(ValueError, match="2 slides and 1 labels"):
        BagDataset(["a", "b"], [0], Counting())


def test_a_cache_goes_to_another_process_without_its_bags():
    cache = BagCache(Counting(), SIZE)
    cache("a")
    there = pickle.loads(pickle.dumps(cache))
    assert there("a").features[0, 0] == 1
    assert there._load.calls == ["a", "a"]  # once here, once there


def test_threads_share_a_budget():
    cache = BagCache(Counting(), 10 * SIZE)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(cache, [str(number) for number in range(200)]))
    assert len(cache._kept) == 10


def test_order_follows_from_seed_and_epoch_alone():
    sampler = EpochSampler(50, seed=1)
    first = list(sampler)
    torch.rand(3)
    assert list(sampler) == first
    assert sorted(first) == list(range(50)) == list(range(len(sampler)))
    sampler.set_epoch(7)
    again = EpochSampler(50, seed=1)
    again.set_epoch(7)
    assert list(sampler) == list(again) != first
    assert list(EpochSampler(50, seed=2)) != first
