from __future__ import annotations

import pytest
import torch
from sklearn.preprocessing import StandardScaler

from wsikit.errors import WsikitError
from wsikit.heads.standardise import Standardise


def bags(offset: float = 1000.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    scale = torch.logspace(-2, 3, 6)
    return [
        torch.randn(count, 6, generator=generator) * scale + offset for count in (1, 40, 7, 300)
    ]


def test_against_scikit_learn() -> None:
    standardise = Standardise(6)
    standardise.fit(bags())
    expected = StandardScaler().fit_transform(torch.cat(bags()).double().numpy())
    torch.testing.assert_close(
        standardise(torch.cat(bags())), torch.from_numpy(expected).float(), rtol=1e-2, atol=1e-2
    )


def test_how_patches_fall_into_bags_does_not_matter() -> None:
    whole, apart = Standardise(6), Standardise(6)
    whole.fit([torch.cat(bags())])
    apart.fit(iter([*bags()[::-1], torch.empty(0, 6)]))
    torch.testing.assert_close(apart.mean, whole.mean)
    torch.testing.assert_close(apart.scale, whole.scale)


def test_the_identity_until_fitted() -> None:
    assert torch.equal(Standardise(6)(bags()[1]), bags()[1])


def test_a_constant_feature_gives_zero() -> None:
    features = torch.randn(50, 3)
    features[:, 1] = 0.1  # has no exact binary value, so its float64 mean is off by rounding
    standardise = Standardise(3)
    standardise.fit([features[:20], features[20:]])
    unseen = torch.full((1, 3), 5.0)
    assert standardise(unseen)[0, 1] == 0
    assert standardise(unseen)[0, 0] != 0


def test_a_bag_of_one_patch_gives_zeros() -> None:
    standardise = Standardise(3)
    standardise.fit([torch.tensor([[1.0, 2.0, 3.0]])])
    assert torch.equal(standardise(torch.tensor([[1.0, 5.0, 3.0]])), torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no patch"),
        ([torch.empty(0, 3)], "no patch"),
        ([torch.zeros(4, 2)], r"bag 0 .*\(4, 2\)"),
        ([torch.tensor([[1.0, float("nan"), 2.0]])], "finite"),
        ([torch.tensor([[1.0, float("inf"), 2.0]])], "finite"),
    ],
)
def test_what_cannot_be_measured_is_refused(given: list[torch.Tensor], message: str) -> None:
    with pytest.raises(WsikitError, match=message):
        Standardise(3).fit(given)
