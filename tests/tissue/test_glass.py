"""The glass's colour on drawn slides, and optical density by its formula."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tissue.slide_pictures import phantom
from wsikit.phantoms.scanners import SCANNERS
from wsikit.tissue.glass import glass_colour, missing, optical_density


@pytest.mark.parametrize("scanner", sorted(SCANNERS))
def test_it_is_the_scanners_white(scanner):
    image, _ = phantom(scanner)
    np.testing.assert_allclose(glass_colour(image), SCANNERS[scanner].white, atol=1.5)


def test_missing_pixels_have_no_say():
    image = phantom("cinder")[0].copy()
    image[:100] = 255
    image[:, :50] = 0
    np.testing.assert_allclose(glass_colour(image), SCANNERS["cinder"].white, atol=1.5)


def test_pale_eosin_is_not_glass():
    pink = np.full((50, 60, 3), (240, 205, 225), np.uint8)
    red, green, blue = glass_colour(pink)
    assert red == green == blue == 240


def test_a_large_picture_is_sampled():
    image = np.full((2500, 2100, 3), (230, 226, 231), np.uint8)
    image[500:900, 300:900] = (180, 90, 150)
    assert glass_colour(image) == (230, 226, 231)


def test_density_is_its_formula():
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    glass = (240.0, 230.0, 250.0)
    expected = np.maximum(0, np.log10((np.asarray(glass) + 1) / (image.astype(float) + 1)))
    np.testing.assert_allclose(
        optical_density(image, glass), np.moveaxis(expected, 2, 0), atol=1e-6
    )


def test_missing_is_exact_white_and_black():
    row = np.array([[[255, 255, 255], [255, 255, 254], [40, 40, 40], [41, 0, 0]]], np.uint8)
    assert missing(row).tolist() == [[True, False, True, False]]
