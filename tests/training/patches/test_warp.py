"""Moving patches: against scipy, and what must stay."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from wsikit.errors import ConfigError
from wsikit.training.patches.plan import PatchSlide, training_plan
from wsikit.training.patches.warp import WarpRange, warped

SLIDES = (PatchSlide("a", 0, 9), PatchSlide("b", 1, 7))


def picture(height: int = 21, width: int = 31, dtype: type = np.uint8) -> np.ndarray:
    noise = np.random.default_rng(0).random((height, width, 3))
    smooth = ndimage.gaussian_filter(noise, (2, 2, 0))
    return (smooth / smooth.max() * 255).astype(dtype)


def test_a_quarter_turn_goes_anticlockwise_as_turns_do() -> None:
    square = picture(25, 25)
    found = warped(square, np.array([90.0, 1, 0, 0]))
    assert np.abs(found.astype(int) - np.rot90(square)).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_it_is_what_scipy_resamples(dtype: type) -> None:
    pixels = picture(dtype=dtype)
    degrees, zoom, right, down = movement = np.array([17.0, 1.1, 0.05, -0.1])
    height, width = pixels.shape[:2]
    angle = np.deg2rad(degrees)
    # (y, x) of the result -> (y, x) of the source, written out.
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / zoom
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    moved = centre + np.array([down * height, right * width])
    expected = np.stack(
        [ndimage.affine_transform(pixels[..., c].astype(float), back, centre - back @ moved,
                                  order=1, mode="nearest") for c in range(3)], axis=2,
    )  # fmt: skip
    found = warped(pixels, movement)
    assert found.dtype == dtype
    assert np.abs(found.astype(float) - expected).max() <= (1.001 if dtype == np.uint8 else 0.05)


def test_nothing_moves_is_the_very_patch() -> None:
    pixels = picture()
    assert warped(pixels, np.array([0.0, 1, 0, 0])) is pixels


def test_movements_are_drawn_within_the_range_by_seed_and_epoch() -> None:
    warp = WarpRange(20, 0.1, 0.05)
    one, same, other = (training_plan(SLIDES, None, True, 3, e, warp) for e in (2, 2, 4))
    assert np.array_equal(one.warps, same.warps)
    assert not np.array_equal(one.warps, other.warps)
    angle, zoom, right, down = one.warps.T
    assert angle.min() >= 0
    assert angle.max() <= 20
    assert np.abs(zoom - 1).max() <= 0.1
    assert np.abs([right, down]).max() <= 0.05
    still = training_plan(SLIDES, None, True, 3, 2)
    assert still.warps is None
    assert np.array_equal(still.turns, one.turns)  # moving draws after what was drawn before


def test_flips_alone_are_the_four_that_keep_right_angles_apart() -> None:
    slides = [PatchSlide("a", 0, 400)]
    turns = training_plan(slides, None, True, 0, 0, quarters=False).turns
    assert set(turns.tolist()) == {0, 2, 4, 6}
    assert np.bincount(turns)[[0, 2, 4, 6]].min() > 60


@pytest.mark.parametrize("wrong", [{"rotate": 200}, {"zoom": 0.6}, {"shift": -0.1}])
def test_out_of_range_is_one_line(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=f"train.patch.{next(iter(wrong))} is"):
        WarpRange(**wrong)
