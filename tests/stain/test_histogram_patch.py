"""Matching patch by patch is scikit-image's, to the byte."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.exposure import match_histograms

from tests.stain.pictures import mixture, phantom, sample_of
from wsikit.stain.histogram_patch import HistogramPatchNormaliser, literal_table
from wsikit.stain.lookup import count_values
from wsikit.stain.methods import fit_normaliser
from wsikit.stain.reference import load_reference

H, E = (1.4, 1.5, 0.6), (0.15, 1.3, 0.6)


def picture_with(histogram: np.ndarray) -> np.ndarray:
    """Return (1, N, 3) uint8 that has exactly this histogram."""
    values = np.arange(256, dtype=np.uint8)
    return np.stack([np.repeat(values, counts) for counts in histogram], axis=-1)[None]


@pytest.mark.parametrize("kind", ["phantom", "noise", "one colour", "half of it glass"])
def test_it_is_what_scikit_image_makes_of_a_picture_with_the_references_histogram(
    kind: str,
) -> None:
    patch = {
        "phantom": phantom("aurora"),
        "noise": np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8),
        "one colour": np.full((32, 32, 3), (150, 90, 130), np.uint8),
        "half of it glass": mixture(H, E)[:, :160],
    }[kind]
    reference = load_reference()
    ours = fit_normaliser("histogram-patch", sample_of(phantom("aurora")), reference).apply(patch)
    theirs = match_histograms(patch, picture_with(reference.histogram), channel_axis=-1)
    np.testing.assert_array_equal(ours, theirs)


def test_glass_is_drawn_into_the_references_tissue() -> None:
    """The price of the letter, stated in the docs; method `histogram` does not pay it."""
    patch, reference = mixture(H, E, noise=0)[:, :160], load_reference()
    glass = fit_normaliser("histogram-patch", sample_of(patch), reference).apply(patch)[:, :80]
    palest = [np.flatnonzero(channel)[-1] for channel in reference.histogram]
    np.testing.assert_array_equal(glass.reshape(-1, 3).max(axis=0), palest)
    assert np.ptp(fit_normaliser("histogram", sample_of(patch), reference).apply(patch[:, :80])) < 9


def test_a_patch_of_glass_is_left_as_it_is() -> None:
    glass = np.clip(np.random.default_rng(0).normal(243, 2, (64, 64, 3)), 0, 255).astype(np.uint8)
    glass[0, 0] = 30  # a speck of dust
    normaliser = HistogramPatchNormaliser(load_reference().histogram)
    np.testing.assert_array_equal(normaliser.apply(glass), glass)


def test_the_tables_keep_the_order_of_values() -> None:
    table = literal_table(count_values(phantom("dune")), load_reference().histogram)
    assert (np.diff(table.astype(int), axis=1) >= 0).all()
