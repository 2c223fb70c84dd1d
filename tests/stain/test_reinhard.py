"""Reinhard's method against the dense formula in scikit-image's Lab."""

from __future__ import annotations

import numpy as np
import pytest

from tests.stain.pictures import lab, mixture, phantom, rgb, sample_of
from wsikit.stain.lab_statistics import LabStatistics
from wsikit.stain.reference import load_reference
from wsikit.stain.reinhard import GAIN, ReinhardNormaliser

WHITE = (245.0, 245.0, 245.0)


def fitted(image: np.ndarray) -> ReinhardNormaliser:
    made = ReinhardNormaliser.fit(sample_of(image), load_reference())
    assert isinstance(made, ReinhardNormaliser)
    return made


def dense(image: np.ndarray, normaliser: ReinhardNormaliser) -> np.ndarray:
    """Compute the published formula in float64, and the run to glass, without a table."""
    source, target, gain = normaliser.source, normaliser.reference, normaliser.gains()
    colours = lab(image)
    white, new_white = (lab(np.array([[w]]) / 255)[0, 0] for w in (source.white, target.white))
    moved = np.array(target.mean) + gain * (colours - source.mean)
    on_glass = np.array(target.mean) + gain * (white - source.mean)
    share = np.clip((white[0] - colours[..., :1]) / normaliser.tissue_darkness(), 0, 1)
    glass = new_white + (colours - white)
    out = share * moved + (1 - share) * glass
    out[..., 0] = (moved + (1 - share) * (new_white - on_glass))[..., 0]
    brighter = colours[..., 0] > white[0]
    out[brighter] = glass[brighter]
    return rgb(out)


@pytest.mark.parametrize("scanner", ["aurora", "boreal", "cinder"])
def test_it_is_the_dense_formula_within_a_grey_value(scanner: str) -> None:
    image = phantom(scanner)
    normaliser = fitted(image)
    difference = normaliser.apply(image) - dense(image, normaliser)
    assert np.abs(difference).max() <= 1.01
    assert np.abs(difference).mean() < 0.3


def test_every_colour_is_right_not_just_those_of_tissue() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    normaliser = fitted(phantom("dune"))
    difference = np.abs(normaliser.apply(colours) - dense(colours, normaliser))
    assert np.quantile(difference, 0.999) <= 1.01
    assert difference.max() <= 2.5  # where sRGB and the cube root are steep


def test_darker_tissue_is_moved_as_published() -> None:
    image = phantom("boreal")
    normaliser = fitted(image)
    source, target = normaliser.source, normaliser.reference
    colours = lab(image)
    plain = rgb((colours - source.mean) / source.std * target.std + target.mean)
    white = lab(np.array([[source.white]]) / 255)[0, 0, 0]
    dark = colours[..., 0] < white - normaliser.tissue_darkness()
    assert dark.mean() > 0.3
    assert np.abs(normaliser.apply(image) - plain)[dark].max() <= 1.01


def test_tissue_gets_the_references_mean_and_spread() -> None:
    image = phantom("cinder")
    tissue = ~(image > 200).all(axis=2)
    after = lab(fitted(image).apply(image))[tissue]
    target = load_reference().lab
    assert target is not None
    np.testing.assert_allclose(after.mean(axis=0), target.mean, atol=1.5)
    np.testing.assert_allclose(after.std(axis=0), target.std, rtol=0.2)


@pytest.mark.parametrize("lightness", [15.0, 40.0, 70.0, 84.0])
@pytest.mark.parametrize("spread", [0.0, 2.0, 10.0, 40.0])
def test_lightness_keeps_its_order_up_to_white_whatever_the_slide(
    lightness: float, spread: float
) -> None:
    source = LabStatistics((lightness, 10, -5), (spread, 5, 5), min(95, lightness + spread), WHITE)
    target = load_reference().lab
    assert target is not None
    grey = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3)
    made = ReinhardNormaliser(source, target)
    after = lab(made.apply(grey))[0, :, 0]
    assert np.diff(after).min() > -0.3  # a grey value's rounding
    assert (made.gains() >= GAIN[0]).all()
    assert (made.gains() <= GAIN[1]).all()


def test_normalising_to_oneself_changes_next_to_nothing() -> None:
    image = mixture((1.4, 1.5, 0.6), (0.15, 1.3, 0.6))
    own = LabStatistics.of(sample_of(image))
    after = ReinhardNormaliser(own, own).apply(image)
    assert np.abs(after.astype(int) - image).max() <= 1
