"""The instance head and its pool; what every head must do is tested for it as for the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wsikit.errors import ConfigError
from wsikit.heads.bag import Bag
from wsikit.heads.instance_pool import InstancePool
from wsikit.heads.registry import build_head

PROBABILITIES = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])


@pytest.mark.parametrize(
    ("pool", "top", "positive"),
    [
        ("mean", 0.1, 0.5),
        ("max", 1.0, 0.8),
        ("top", 0.5, 0.75),
        ("top", 0.01, 0.8),
        ("top", 1.0, 0.5),
    ],
)
def test_pools(pool: str, top: float, positive: float) -> None:
    pooled = InstancePool(pool, top).pooled(PROBABILITIES)
    np.testing.assert_allclose(pooled, [1 - positive, positive], rtol=1e-6)


@pytest.mark.parametrize("pool", ["mean", "max", "top"])
def test_shares_say_how_the_pool_comes_about(pool: str) -> None:
    settings = InstancePool(pool, 0.5)
    shares = settings.shares(PROBABILITIES)
    assert shares.sum().item() == pytest.approx(1)
    np.testing.assert_allclose(shares @ PROBABILITIES, settings.pooled(PROBABILITIES), rtol=1e-6)


def test_with_three_classes_the_first_is_the_negative_one() -> None:
    patches = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.3, 0.7, 0.0]])
    np.testing.assert_allclose(InstancePool("max").pooled(patches), [0.1, 0.2, 0.7], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool": "median"}, "pool is 'median'"),
        ({"pool": "men"}, "did you mean 'mean'"),
        ({"top": 0}, "top is 0"),
        ({"top": 1.5}, "top is 1.5"),
        ({"top": True}, "top is True"),
        ({"hidden": -1}, "hidden is -1"),
        ({"dropout": 1}, "dropout is 1"),
    ],
)
def test_what_is_out_of_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_head("instance", 3, 2, **options)


@pytest.mark.parametrize("hidden", [0, 5])
def test_the_slide_is_pooled_from_its_patches(hidden: int) -> None:
    head = build_head("instance", 3, 2, hidden=hidden, pool="max").eval()
    features = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores = head(Bag(features, torch.zeros(9, 2, dtype=torch.int64)))
    assert scores.patch_logits is not None
    wanted = scores.patch_logits.softmax(1)[:, 1].max()
    assert scores.logits.softmax(0)[1].item() == pytest.approx(wanted.item(), rel=1e-5)
