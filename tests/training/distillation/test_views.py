from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from wsikit.errors import ConfigError
from wsikit.training.distillation.views import FeatureViews, PixelViews

NOTHING = PixelViews(flip=0, jitter=0, grey=0, crop=1)
PX = 24


def pictures(count: int = 8, side: int = PX) -> torch.Tensor:
    drawn = torch.randint(0, 256, (count, 3, side, side), generator=seeded(1), dtype=torch.uint8)
    drawn[0], drawn[1] = 0, 255
    return drawn


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(count: int = 1) -> torch.Tensor:
    """Pictures that resampling changes little: red grows to the right, green downwards."""
    ramp = torch.linspace(20, 220, PX)
    one = torch.stack([ramp.expand(PX, PX), ramp[:, None].expand(PX, PX), torch.full((PX, PX), 90)])
    return one.expand(count, 3, PX, PX).clone()


@pytest.mark.parametrize("side", [16, PX, 40])
def test_views_keep_shape_and_range(side: int) -> None:
    views = PixelViews(strength=1.0)(pictures(64), seeded(0), side)
    assert views.shape == (64, 3, side, side)
    assert views.dtype == torch.float32
    assert views.min() >= 0
    assert views.max() <= 255
    assert views.isfinite().all()


def test_without_any_change_the_picture_is_what_it_was() -> None:
    torch.testing.assert_close(
        NOTHING(pictures(), seeded(0), PX), pictures().float(), rtol=0, atol=2e-3
    )


def test_the_picture_is_left_alone() -> None:
    given = pictures()
    PixelViews()(given, seeded(0), PX)
    assert torch.equal(given, pictures())


def test_flips() -> None:
    flipped = PixelViews(flip=1, jitter=0, grey=0, crop=1)(pictures(), seeded(0), PX)
    torch.testing.assert_close(flipped, pictures().flip(2, 3).float(), rtol=0, atol=2e-3)
    some = PixelViews(jitter=0, grey=0, crop=1)(pictures(400), seeded(0), PX)
    upright = pictures(400).float()
    for axes in ((2,), (3,), (2, 3), ()):
        same = (some - upright.flip(axes)).abs().amax(dim=(1, 2, 3)) < 0.01
        assert 0.17 < same[2:].float().mean() < 0.33


def test_a_crop_lies_in_the_picture_and_has_80_to_100_percent_of_its_side() -> None:
    """Of a ramp the crop keeps the slope's share: its size can be read off the view."""
    views = PixelViews(flip=0, jitter=0, grey=0)(smooth(300), seeded(0), PX)
    step = 200 / (PX - 1)
    size = (views[:, 0, 12, -4] - views[:, 0, 12, 3]) / (PX - 7) / step
    downwards = (views[:, 1, -4, 12] - views[:, 1, 3, 12]) / (PX - 7) / step
    torch.testing.assert_close(size, downwards, rtol=1e-3, atol=1e-3)
    assert size.min() >= 0.8 - 1e-3
    assert size.max() <= 1 + 1e-3
    assert size.mean() == pytest.approx(0.9, abs=0.01)
    assert views.min() >= 20 - 0.01
    assert views[:, :2].max() <= 220 + 0.01
    assert views[:, 0].std(dim=0).max() > 3  # they lie in different places


def test_grey_is_that_of_others() -> None:
    grey = PixelViews(flip=0, jitter=0, grey=1, crop=1)(pictures(), seeded(0), PX)
    torch.testing.assert_close(grey[:, 0], grey[:, 2])
    by_pillow = np.stack(
        [np.asarray(Image.fromarray(p.permute(1, 2, 0).numpy()).convert("L")) for p in pictures()]
    )
    np.testing.assert_allclose(grey[:, 0].numpy(), by_pillow, atol=1.01)
    some = PixelViews(flip=0, jitter=0, crop=1)(pictures(500), seeded(0), PX)
    colourless = (some[:, 0] - some[:, 1]).abs().amax(dim=(1, 2)) < 1e-3
    assert 0.14 < colourless[2:].float().mean() < 0.26


def test_jitter_changes_colours_of_half_the_pictures_and_no_shape() -> None:
    views = PixelViews(flip=0, grey=0, crop=1)(smooth(400), seeded(0), PX)
    changed = (views - smooth(400)).abs().amax(dim=(1, 2, 3)) > 0.5
    assert 0.4 < changed.float().mean() < 0.6
    flat = torch.full((200, 3, PX, PX), 128.0)
    grey = PixelViews(flip=0, jitter=1, grey=0, crop=1, strength=0.2)(flat, seeded(0), PX)
    assert (grey[:, 0] - grey[:, 2]).abs().max() < 0.1  # hue and saturation leave grey alone
    means = grey.mean(dim=(1, 2, 3)) / 128
    assert 0.8 - 1e-3 < means.min() < 0.85
    assert 1.15 < means.max() < 1.2 + 1e-3


def test_views_are_drawn_for_each_picture_and_follow_the_generator() -> None:
    same = smooth(6)
    generator = seeded(0)
    first, second = PixelViews()(same, generator, PX), PixelViews()(same, generator, PX)
    assert not torch.allclose(first[0], first[1])
    assert not torch.allclose(first, second)
    assert torch.equal(first, PixelViews()(same, seeded(0), PX))
    alone = PixelViews()(same[:1], seeded(0), PX)
    torch.testing.assert_close(alone[0], first[0])


@pytest.mark.parametrize("name", ["flip", "jitter", "grey", "strength"])
@pytest.mark.parametrize("value", [-0.1, 1.1, "half", True, float("nan")])
def test_what_is_out_of_range(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} is "):
        PixelViews(**{name: value})


def test_a_crop_of_nothing() -> None:
    with pytest.raises(ConfigError, match="crop is 0"):
        PixelViews(crop=0)
    with pytest.raises(ConfigError, match="noise is -1"):
        FeatureViews(noise=-1)


def test_features_get_noise_by_their_own_spread() -> None:
    features = torch.zeros(20_000, 3)
    scale = torch.tensor([1.0, 0.01, 0.0])
    drawn = FeatureViews(noise=0.5)(features, seeded(0), scale)
    np.testing.assert_allclose(drawn.std(dim=0), [0.5, 50, 0], rtol=0.02)
    np.testing.assert_allclose(drawn.mean(dim=0) * scale, 0, atol=0.02)
    assert torch.equal(FeatureViews(noise=0)(features, seeded(0), scale), features)
