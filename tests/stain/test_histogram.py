"""Histogram matching against scikit-image's, and the ends that we treat otherwise."""

from __future__ import annotations

import numpy as np
from skimage.exposure import match_histograms

from wsikit.stain.histogram import (
    MIN_TISSUE_PX,
    apply_table,
    identity_table,
    inverse_table,
    matching_table,
    tissue_histogram,
)
from wsikit.stain.reference import load_reference


def histogram(image: np.ndarray) -> np.ndarray:
    return tissue_histogram(image, np.ones(image.shape[:2], bool))


def pictures() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    source = np.clip(rng.normal((150, 90, 130), (30, 40, 20), (200, 150, 3)), 0, 254)
    reference = np.clip(rng.normal((170, 120, 150), (40, 30, 30), (180, 170, 3)), 0, 254)
    return source.astype(np.uint8), reference.astype(np.uint8)


def test_it_matches_as_scikit_image_does_between_the_tails() -> None:
    source, reference = pictures()
    ours = apply_table(source, matching_table(histogram(source), histogram(reference)))
    theirs = match_histograms(source, reference, channel_axis=-1)
    for channel in range(3):
        low, high = np.percentile(source[..., channel], (0.5, 94))
        inside = (source[..., channel] > low) & (source[..., channel] < high)
        difference = ours[..., channel][inside] - theirs[..., channel][inside].astype(float)
        assert np.abs(difference).max() <= 1


def test_white_stays_white_black_stays_black_and_order_is_kept() -> None:
    source, reference = pictures()
    table = matching_table(histogram(source), histogram(reference))
    assert table[:, 0].tolist() == [0, 0, 0]
    assert table[:, 255].tolist() == [255, 255, 255]
    assert (np.diff(table.astype(int), axis=1) >= 0).all()


def test_matching_to_oneself_changes_next_to_nothing() -> None:
    source, _ = pictures()
    table = matching_table(histogram(source), histogram(source))
    assert np.abs(apply_table(source, table).astype(int) - source).max() <= 2


def test_an_almost_blank_slide_is_left_alone() -> None:
    image = np.full((100, 100, 3), 250, np.uint8)
    reference = load_reference().histogram
    tissue = np.zeros((100, 100), bool)
    tissue.ravel()[: MIN_TISSUE_PX - 1] = True
    table = matching_table(tissue_histogram(image, tissue), reference)
    np.testing.assert_array_equal(table, identity_table())
    tissue[:] = False
    np.testing.assert_array_equal(
        matching_table(tissue_histogram(image, tissue), reference), identity_table()
    )


def test_undoing_loses_no_more_than_what_the_table_merged() -> None:
    source, reference = pictures()
    table = matching_table(histogram(source), histogram(reference))
    inverse = inverse_table(table)
    assert (np.diff(inverse.astype(int), axis=1) >= 0).all()
    for c in range(3):
        for value in range(256):
            same = np.flatnonzero(table[c] == table[c, value])  # what became the same value
            error = abs(int(inverse[c, table[c, value]]) - value)
            assert error <= (same[-1] - same[0] + 1) // 2
    back = apply_table(apply_table(source, table), inverse)
    assert np.abs(back.astype(int) - source).mean() < 0.5


def test_undoing_a_table_that_merges_nothing_is_exact() -> None:
    np.testing.assert_array_equal(inverse_table(identity_table()), identity_table())
    flipped = identity_table()[:, ::-1].copy()
    np.testing.assert_array_equal(inverse_table(flipped), flipped)
