"""Short names find the features they mean, for every encoder that can be named."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsikit.encoders.encoder import build_encoder, encoder_id
from wsikit.errors import StoreError
from wsikit.stages.stored_names import find_encoder_id
from wsikit.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path, {})


def hold(store: Store, *ids: str) -> None:
    for identity in ids:
        (store.slide_path("s") / "features" / identity).mkdir(parents=True)


@pytest.mark.parametrize("name", ["resnet18", "timm:resnet10t"])
def test_a_name_finds_the_id_that_its_encoder_has(store: Store, name: str) -> None:
    identity = encoder_id(build_encoder(name, "random"))
    hold(store, identity, "other-random-12345678")
    assert find_encoder_id(store, name) == identity
    assert find_encoder_id(store, identity) == identity


def test_two_weights_of_one_name_must_be_told_apart(store: Store) -> None:
    hold(store, "resnet18-random-00000000", "resnet18-imagenet-11111111")
    with pytest.raises(StoreError, match="features by several weights"):
        find_encoder_id(store, "resnet18")


def test_nothing_to_find(store: Store) -> None:
    with pytest.raises(StoreError, match="no features yet"):
        find_encoder_id(store, "resnet18")
    hold(store, "resnet18-random-00000000")
    with pytest.raises(StoreError, match="no features by 'vgg16'"):
        find_encoder_id(store, "vgg16")
