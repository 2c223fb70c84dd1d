from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wsikit.errors import UsageError
from wsikit.phantoms.spec import DEMO_MPP, DEMO_SIZE, PhantomSpec
from wsikit.phantoms.truth import patch_truth, tissue_mask, tumour_mask
from wsikit.types import Mpp, Size


def spec_of(seed, tumour=True, size=DEMO_SIZE, mpp=DEMO_MPP):
    return PhantomSpec(f"s{seed}", size, mpp, seed, tumour, "aurora")


@pytest.mark.parametrize("mask", [tumour_mask, tissue_mask])
def test_a_coarse_mask_is_the_fine_one_at_the_centres(mask):
    spec = spec_of(3, size=Size(1100, 700), mpp=Mpp(1.1, 1.02))
    fine, coarse = mask(spec, 1), mask(spec, 5)
    assert fine.shape == (700, 1100)
    assert coarse.shape == (140, 220)
    assert 0 < fine.mean() < 1
    np.testing.assert_array_equal(coarse, fine[2::5, 2::5])


@pytest.mark.parametrize("seed", range(8))
def test_tumour_lies_in_tissue_and_takes_its_share(seed):
    spec = spec_of(seed)
    tumour, tissue = tumour_mask(spec, 16), tissue_mask(spec, 16)
    assert not (tumour & ~tissue).any()
    assert 0.15 < tumour.sum() / tissue.sum() < 0.40
    assert 0.25 < tissue.mean() < 0.8


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
def test_a_given_share_of_tumour_is_met(share):
    for seed in range(4):
        spec = replace(spec_of(seed), tumour_share=share)
        found = tumour_mask(spec, 8).sum() / tissue_mask(spec, 8).sum()
        assert found == pytest.approx(share, rel=0.15)


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_an_impossible_share_of_tumour_is_refused(share):
    with pytest.raises(UsageError, match="tumour share"):
        replace(spec_of(0), tumour_share=share)


def test_the_share_of_tumour_holds_on_large_and_thin_slides():
    for size in (Size(60_000, 45_000), Size(100_000, 512)):
        spec = spec_of(4, size=size)
        tumour, tissue = tumour_mask(spec, 64), tissue_mask(spec, 64)
        assert 0.12 < tumour.sum() / tissue.sum() < 0.45


def test_a_slide_without_tumour_has_none():
    assert not tumour_mask(spec_of(3, tumour=False), 8).any()


def test_truth_is_physical():
    # The same micrometres with other pixels: the same picture.
    a = tissue_mask(spec_of(6, size=Size(1600, 1200), mpp=Mpp(1.0, 1.0)), 4)
    b = tissue_mask(spec_of(6, size=Size(3200, 1200), mpp=Mpp(0.5, 1.0)), 4)
    assert (a != b[:, ::2]).mean() < 0.01


def test_patch_truth_is_the_mean_of_the_mask_even_between_its_pixels():
    mask = tumour_mask(spec_of(2), 8)
    rng = np.random.default_rng(0)
    x, y = rng.integers(-300, 3100, 200), rng.integers(-300, 2400, 200)
    width, height = rng.integers(1, 500, 200), rng.integers(1, 500, 200)
    shares = patch_truth(mask, 8, x, y, width, height)
    fine = np.pad(np.kron(mask, np.ones((8, 8), bool)), 1000)
    expected = [
        fine[1000 + b : 1000 + b + h, 1000 + a : 1000 + a + w].mean()
        for a, b, w, h in zip(x, y, width, height, strict=True)
    ]
    np.testing.assert_allclose(shares, expected, atol=1e-9)
    assert 0 < shares.max() <= 1


def test_patch_truth_takes_a_downsample_for_each_axis():
    mask = np.zeros((4, 6), bool)
    mask[1, 2] = True
    shares = patch_truth(mask, (10.0, 20.0), [20, 15, 0], [20, 20, 0], 10, [20, 20, 10])
    np.testing.assert_allclose(shares, [1, 0.5, 0])


def test_a_downsample_below_one_is_refused():
    with pytest.raises(UsageError, match="downsample"):
        tumour_mask(spec_of(0), 0)
