"""What is gathered of a slide: all its counts, some of its pixels, and the colour of its glass."""

from __future__ import annotations

import numpy as np
import pytest

from tests.stain.pictures import mixture, sample_of
from wsikit.stain.histogram import tissue_histogram
from wsikit.stain.sample import SAMPLE_PX, UNSEEN_GLASS, gather_sample, thin_out

H, E = (1.4, 1.5, 0.6), (0.15, 1.3, 0.6)


def test_counts_are_those_of_all_tissue_in_all_squares() -> None:
    images = [mixture(H, E, seed=n) for n in range(3)]
    masks = [~(image > 200).all(axis=2) for image in images]
    sample = gather_sample(zip(images, masks, strict=True))
    expected = sum(tissue_histogram(i, m) for i, m in zip(images, masks, strict=True))
    np.testing.assert_array_equal(sample.histogram, expected)
    assert sample.tissue_px == sum(mask.sum() for mask in masks)


def test_few_pixels_are_all_kept() -> None:
    image = mixture(H, E)[:200]
    np.testing.assert_array_equal(sample_of(image).pixels, image[~(image > 200).all(axis=2)])


@pytest.mark.parametrize("count", [SAMPLE_PX, SAMPLE_PX + 1, 3 * SAMPLE_PX, 128 * SAMPLE_PX])
def test_many_are_thinned_out_evenly_and_by_an_odd_step(count: int) -> None:
    kept = thin_out(np.broadcast_to(np.arange(count)[:, None], (count, 3)))[:, 0]
    step = np.unique(np.diff(kept))
    assert SAMPLE_PX / 3 < len(kept) <= SAMPLE_PX
    assert len(step) == 1
    assert step[0] % 2 == 1


@pytest.mark.parametrize("white", [(243.0, 236.0, 251.0), (215.0, 225.0, 219.0)])
def test_glass_is_seen_past_pale_tissue_and_unscanned_ground(
    white: tuple[float, float, float],
) -> None:
    image = mixture(H, E, white=white)
    image[:, :20] = 255  # nothing was scanned there
    np.testing.assert_allclose(sample_of(image).white, white, atol=2)


def test_where_there_is_no_glass_the_whole_range_counts() -> None:
    assert sample_of(mixture(H, E)[:, 100:]).white == UNSEEN_GLASS


def test_ink_that_is_no_tissue_is_no_glass_either() -> None:
    image = mixture(H, E)
    tissue = ~(image > 200).all(axis=2)
    image[:100, :50], tissue[:100, :50] = (20, 30, 160), False
    np.testing.assert_allclose(gather_sample([(image, tissue)]).white, (243, 240, 245), atol=2)


def test_nothing_is_nearly_blank() -> None:
    sample = gather_sample([])
    assert sample.tissue_px == 0
    assert sample.nearly_blank
    assert sample.pixels.shape == (0, 3)
