from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from skimage.color import rgb2hed
from skimage.filters import threshold_otsu

from wsikit.phantoms.render import render_block
from wsikit.phantoms.scanners import SCANNERS
from wsikit.phantoms.slide import strips
from wsikit.phantoms.spec import DEMO_MPP, DEMO_SIZE, PhantomSpec
from wsikit.phantoms.truth import tissue_mask, tumour_mask
from wsikit.types import Mpp, Size


def spec_of(seed, tumour=True, scanner="aurora", size=DEMO_SIZE, pen=False, mpp=DEMO_MPP):
    return PhantomSpec(f"s{seed}", size, mpp, seed, tumour, scanner, pen=pen)


@lru_cache(maxsize=2)
def whole(spec):
    return np.vstack([strip.copy() for strip in strips(spec)])


def test_any_block_is_a_cut_of_the_whole():
    spec = spec_of(1, pen=True, size=Size(1500, 1150))
    image = whole(spec)
    rng = np.random.default_rng(0)
    for _ in range(6):
        x, y = int(rng.integers(0, 1200)), int(rng.integers(0, 900))
        width, height = int(rng.integers(1, 300)), int(rng.integers(1, 250))
        block = render_block(spec, x, y, width, height)
        np.testing.assert_array_equal(block, image[y : y + height, x : x + width])


def test_the_height_of_a_strip_changes_nothing():
    spec = spec_of(1, pen=True, size=Size(1500, 1150))
    other = np.vstack([strip.copy() for strip in strips(spec, rows=187)])
    np.testing.assert_array_equal(other, whole(spec))


def test_blocks_agree_where_mpp_is_far_from_square():
    spec = spec_of(2, size=Size(900, 700), mpp=Mpp(1.9, 2.3))
    np.testing.assert_array_equal(
        render_block(spec, 311, 123, 200, 301), whole(spec)[123:424, 311:511]
    )


@pytest.mark.parametrize("scanner", sorted(SCANNERS))
def test_glass_is_nearly_white(scanner):
    spec = spec_of(5, scanner=scanner, size=Size(1500, 1150))
    image, tissue = whole(spec), tissue_mask(spec, 1)
    padded = np.pad(tissue, 8)
    near = np.zeros_like(tissue)
    for dy in range(0, 17, 4):
        for dx in range(0, 17, 4):
            near |= padded[dy : dy + tissue.shape[0], dx : dx + tissue.shape[1]]
    glass = image[~near]
    assert len(glass) > 0.1 * tissue.size
    assert glass.min() > 230
    assert image[tissue].mean() < 190


@pytest.mark.parametrize(("seed", "scanner"), [(0, "aurora"), (2, "cinder")])
def test_tumour_has_more_nuclei_and_nearly_the_same_colour(seed, scanner):
    spec = spec_of(seed, scanner=scanner)
    # Every third pixel: the centres of the squares of a mask with downsample 3.
    image = np.vstack([strip[1::3, 1::3].copy() for strip in strips(spec, rows=384)])
    tumour = tumour_mask(spec, 3)[: image.shape[0], : image.shape[1]]
    normal = tissue_mask(spec, 3)[: image.shape[0], : image.shape[1]] & ~tumour
    for kept in (np.ones_like(tumour), image.min(2) < 215):
        difference = image[tumour & kept].mean(0) - image[normal & kept].mean(0)
        assert np.abs(difference).max() < 8
    haematoxylin = rgb2hed(image)[..., 0]
    nuclei = haematoxylin > threshold_otsu(haematoxylin[tumour | normal])
    assert nuclei[tumour].mean() > 1.4 * nuclei[normal].mean()


def test_without_tumour_the_same_seed_gives_the_same_tissue():
    with_, without = spec_of(1), spec_of(1, tumour=False)
    np.testing.assert_array_equal(tissue_mask(with_, 16), tissue_mask(without, 16))
    a, b = (render_block(s, 0, 0, 3000, 400) for s in (with_, without))
    tumour = tumour_mask(with_, 1)[:400]
    assert (a[~tumour] == b[~tumour]).mean() > 0.9


def test_scanners_differ_in_colour():
    colours = []
    for scanner in sorted(SCANNERS):
        spec = spec_of(0, scanner=scanner)
        colours.append(render_block(spec, 1300, 1400, 400, 400).mean((0, 1)))
    gaps = [np.abs(a - b).max() for i, a in enumerate(colours) for b in colours[:i]]
    assert min(gaps) > 4


def test_a_pen_leaves_ink_and_no_truth():
    plain, marked = spec_of(7, size=Size(1500, 1150)), spec_of(7, size=Size(1500, 1150), pen=True)
    changed = (whole(plain) != whole(marked)).any(2)
    assert 0.005 < changed.mean() < 0.2
    # Ink darkens and never brightens, but for one step of rounding.
    assert (whole(marked).astype(int) - whole(plain)).max() <= 1
    np.testing.assert_array_equal(tumour_mask(plain, 8), tumour_mask(marked, 8))


@pytest.mark.parametrize("size", [Size(1, 1), Size(7, 300), Size(64, 48)])
def test_tiny_slides_can_be_drawn(size):
    assert render_block(spec_of(1, size=size), 0, 0, *size).shape == (size.height, size.width, 3)
