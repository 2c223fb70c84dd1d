"""Macenko's method on mixtures whose stains are known, and against the dense formula."""

from __future__ import annotations

import numpy as np
import pytest

from tests.stain.pictures import mixture, phantom, sample_of
from wsikit.phantoms.scanners import SCANNERS
from wsikit.stain.macenko import GAIN, MacenkoNormaliser
from wsikit.stain.methods import fit_normaliser
from wsikit.stain.normaliser import Identity
from wsikit.stain.reference import load_reference
from wsikit.stain.stain_statistics import (
    TRANSPARENT,
    StainStatistics,
    angle_between,
    inverse,
    optical_density,
    stain_matrix,
)

LABORATORIES = {
    "Macenko's typical": ((0.563, 0.720, 0.406), (0.216, 0.801, 0.558)),
    "Ruifrok's": ((0.650, 0.704, 0.286), (0.072, 0.990, 0.105)),
    "aurora": SCANNERS["aurora"][:2],
    "cinder": SCANNERS["cinder"][:2],
}


def stains_of(image: np.ndarray) -> StainStatistics:
    found = StainStatistics.of(sample_of(image))
    assert found is not None
    return found


def fitted(image: np.ndarray) -> MacenkoNormaliser:
    made = fit_normaliser("macenko", sample_of(image), load_reference())
    assert isinstance(made, MacenkoNormaliser)
    return made


@pytest.mark.parametrize("white", [(243.0, 240.0, 245.0), (222.0, 229.0, 218.0)])
@pytest.mark.parametrize("laboratory", LABORATORIES)
def test_the_stains_of_a_mixture_are_found(
    laboratory: str, white: tuple[float, float, float]
) -> None:
    haematoxylin, eosin = LABORATORIES[laboratory]
    found = stains_of(mixture(haematoxylin, eosin, white, noise=0.5))
    assert angle_between(found.haematoxylin, haematoxylin) < 4
    assert angle_between(found.eosin, eosin) < 4
    assert found.haematoxylin[0] > found.eosin[0]
    np.testing.assert_allclose(np.linalg.norm([found.haematoxylin, found.eosin], axis=1), 1, 1e-5)


@pytest.mark.parametrize("scanner", SCANNERS)
def test_the_stains_of_a_phantom_are_found(scanner: str) -> None:
    """Its stroma holds haematoxylin everywhere, so that eosin is seen bluer than it is."""
    found = stains_of(phantom(scanner))
    assert angle_between(found.haematoxylin, SCANNERS[scanner].haematoxylin) < 5
    assert angle_between(found.eosin, SCANNERS[scanner].eosin) < 12


def test_full_amounts_follow_the_strength_of_the_staining() -> None:
    weak, strong = (
        stains_of(mixture(*LABORATORIES["aurora"], strength=s, noise=0)) for s in (0.6, 1.0)
    )
    np.testing.assert_allclose(np.array(weak.full) / strong.full, 0.6, rtol=0.05)


def test_it_is_the_dense_formula_within_a_grey_value() -> None:
    image = phantom("boreal")
    normaliser = fitted(image)
    source, target = normaliser.source, normaliser.reference
    density = optical_density(image, source.white)
    amounts = density @ np.linalg.inv(source.matrix()).T
    gain = np.clip(np.array(target.full) / source.full, *GAIN)
    mixed = (amounts * [*gain, min(*gain, 1)]) @ target.matrix().T
    share = np.clip(density.max(axis=2, keepdims=True) / TRANSPARENT, 0, 1)
    light = np.array(target.white) * np.exp(-(share * mixed + (1 - share) * density))
    difference = normaliser.apply(image) - np.clip(light, 0, 255)
    assert np.abs(difference).max() <= 1


def test_pure_stains_become_the_references() -> None:
    haematoxylin, eosin = LABORATORIES["Ruifrok's"]
    normaliser = fitted(mixture(haematoxylin, eosin, noise=0))
    source, target = normaliser.source, normaliser.reference
    for own, wanted in (
        (source.haematoxylin, target.haematoxylin),
        (source.eosin, target.eosin),
    ):
        pixel = np.round(np.array(source.white) * np.exp(-0.8 * np.array(own)))
        after = normaliser.apply(pixel.astype(np.uint8)[None, None])
        seen = tuple(optical_density(after, target.white)[0, 0])
        assert angle_between(seen, wanted) < 1


def test_normalising_to_oneself_changes_next_to_nothing() -> None:
    image = phantom("aurora")
    own = stains_of(image)
    assert np.abs(MacenkoNormaliser(own, own).apply(image).astype(int) - image).max() <= 1


def test_black_ink_stays_black_and_no_stain_is_invented() -> None:
    normaliser = fitted(phantom("aurora"))
    ink = np.array([[[8, 8, 10], [40, 40, 45]]], np.uint8)
    after = normaliser.apply(ink).astype(int)
    assert after.max() < 90
    assert np.ptp(after, axis=2).max() < 60


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("which", [0, 1])
def test_one_stain_alone_is_left_as_it_is(which: int, noise: float) -> None:
    stain = LABORATORIES["aurora"][which]
    sample = sample_of(mixture(stain, stain, noise=noise))
    assert StainStatistics.of(sample) is None
    made = fit_normaliser("macenko", sample, load_reference())
    assert isinstance(made, Identity)
    assert "two stains" in made.reason


@pytest.mark.parametrize("colour", [(10, 10, 10), (0, 0, 0), (150, 90, 130), (199, 199, 199)])
def test_one_colour_alone_is_left_as_it_is(colour: tuple[int, int, int]) -> None:
    image = np.full((100, 100, 3), colour, np.uint8)
    assert isinstance(fit_normaliser("macenko", sample_of(image), load_reference()), Identity)


def test_stains_that_noise_alone_tells_apart_are_not_blown_up() -> None:
    """Whatever the slide, a change of colour is enlarged four times at most."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        haematoxylin, eosin = rng.uniform(0.05, 1.5, (2, 3))
        strength, noise = rng.uniform(0.05, 1.5), rng.uniform(0, 6)
        sample = sample_of(mixture(haematoxylin, eosin, strength=strength, noise=noise))
        made = fit_normaliser("macenko", sample, load_reference())
        if isinstance(made, MacenkoNormaliser):
            assert np.linalg.svd(made.matrix())[1][0] <= 4


def test_the_signs_of_eigenvectors_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    sample, solve = sample_of(phantom("dune")), np.linalg.eigh
    before = StainStatistics.of(sample)
    for signs in ([1, -1, 1], [1, 1, -1], [-1, -1, -1]):
        monkeypatch.setattr(np.linalg, "eigh", lambda m, s=signs: (solve(m)[0], solve(m)[1] * s))
        assert StainStatistics.of(sample) == before


def test_the_inverse_is_linear_algebras() -> None:
    matrix = stain_matrix((0.65, 0.70, 0.29), (0.07, 0.99, 0.11))
    np.testing.assert_allclose(inverse(matrix), np.linalg.inv(matrix), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(matrix[:, 2] @ matrix[:, :2], 0, atol=1e-12)
