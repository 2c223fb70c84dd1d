"""The tissue filter against phantoms' truth, under everything slides are spoilt by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu

from tests.tissue.slide_pictures import INKS, OVERVIEW_MPP, iou, phantom, write_on
from wsikit.geometry import PatchGrid
from wsikit.phantoms.scanners import SCANNERS
from wsikit.slides.open import open_slide
from wsikit.slides.overview import read_overview
from wsikit.tissue.glass import glass_colour, optical_density
from wsikit.tissue.shares import foreground_shares
from wsikit.tissue.tissue_mask import TissueSettings, tissue_mask
from wsikit.types import Mpp


def crop_of(image, truth):
    """Cut the largest rectangle about the tissue's deepest point that is tissue all over."""
    depth = ndimage.distance_transform_edt(truth)
    row, col = np.unravel_index(depth.argmax(), depth.shape)
    half = int(depth.max() / 1.5)
    return image[row - half : row + half, col - half : col + half]


@pytest.mark.parametrize("scanner", sorted(SCANNERS))
def test_it_finds_the_tissue_of_every_scanner(scanner):
    image, truth = phantom(scanner)
    assert iou(tissue_mask(image, OVERVIEW_MPP), truth) > 0.95


@pytest.mark.parametrize(
    "tint", [(0.8, 0.8, 0.8), (0.65, 0.65, 0.65), (1, 0.98, 0.88), (0.9, 0.95, 1), (1, 0.95, 0.98)]
)
def test_grey_and_coloured_glass_change_nothing(tint):
    image, _ = phantom()
    tinted = np.round(image * np.asarray(tint)).astype(np.uint8)
    assert iou(tissue_mask(tinted, OVERVIEW_MPP), tissue_mask(image, OVERVIEW_MPP)) > 0.98


def test_black_borders_and_white_fill_are_not_tissue():
    image, truth = (array.copy() for array in phantom())
    image = np.round(image * np.array([0.93, 0.9, 0.94])).astype(np.uint8)
    image[:, :40] = (3, 3, 6)
    image[-30:] = (20, 12, 25)
    image[:20, 100:] = 255
    truth[:, :40] = truth[-30:] = truth[:20, 100:] = False
    mask = tissue_mask(image, OVERVIEW_MPP)
    assert not mask[:, :38].any()
    assert not mask[-28:].any()
    assert iou(mask, truth) > 0.93


@pytest.mark.parametrize("noise", [0, 1, 2, 4])
def test_an_empty_slide_holds_no_tissue_where_otsu_splits_noise(noise):
    shade = np.linspace(0, 12, 300)[:, None, None] * [1, 0.8, 1]
    glass = 230 + shade + np.random.default_rng(0).normal(0, noise, (300, 400, 3))
    image = glass.round().astype(np.uint8)
    assert not tissue_mask(image, OVERVIEW_MPP).any()
    assert (image[..., 1] < threshold_otsu(image[..., 1])).mean() > 0.2


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_picture_of_one_grey_holds_no_tissue(value):
    assert not tissue_mask(np.full((40, 30, 3), value, np.uint8), OVERVIEW_MPP).any()


@pytest.mark.parametrize("scanner", sorted(SCANNERS))
def test_a_picture_that_is_all_tissue_is_kept_where_otsu_cuts_it_in_two(scanner):
    crop = crop_of(*phantom(scanner))
    assert tissue_mask(crop, OVERVIEW_MPP).mean() > 0.95
    density = optical_density(crop, glass_colour(crop)).mean(axis=0)
    assert (density > threshold_otsu(density)).mean() < 0.85


@pytest.mark.parametrize("ink", INKS)
def test_ink_is_dropped_and_the_tissue_beside_it_kept(ink):
    image, truth = phantom()
    marked, thickness = write_on(image, INKS[ink])
    mask = tissue_mask(marked, OVERVIEW_MPP)
    on_glass = (thickness > 0.5) & ~truth
    assert on_glass.sum() > 500
    assert not mask[on_glass].any()
    far = ~ndimage.binary_dilation(thickness > 0.05, iterations=6)
    assert iou(mask & far, truth & far) > 0.94
    unasked = tissue_mask(marked, OVERVIEW_MPP, TissueSettings(pen=False))
    assert unasked.sum() >= mask.sum()


@pytest.mark.parametrize("ink", ["blue", "green", "black"])
def test_ink_over_tissue_is_dropped_too(ink):
    image, truth = phantom()
    marked, thickness = write_on(image, INKS[ink])
    assert tissue_mask(marked, OVERVIEW_MPP)[(thickness > 0.8) & truth].mean() < 0.05


@pytest.mark.parametrize("scanner", sorted(SCANNERS))
def test_stains_are_not_taken_for_ink(scanner):
    image, _ = phantom(scanner)
    with_pen = tissue_mask(image, OVERVIEW_MPP)
    without = tissue_mask(image, OVERVIEW_MPP, TissueSettings(pen=False))
    np.testing.assert_array_equal(with_pen, without)


def test_dust_and_shadow_are_grey_and_dropped():
    image, truth = phantom()
    light = np.ones(image.shape[:2])
    light[5:25, 5:60] = 0.7
    light[60:90, 100:200] = 0.7
    shaded = np.round(image * light[..., None]).astype(np.uint8)
    assert iou(tissue_mask(shaded, OVERVIEW_MPP), truth) > 0.94


def test_specks_and_holes_go_by_their_area_in_um():
    glass = np.full((200, 300, 3), 240, np.uint8)
    pink = (220, 150, 190)
    glass[20:180, 20:180] = pink  # a piece of 1,280 x 1,280 um
    glass[40:60, 40:60] = 240  # a hole of 25,600 um2
    glass[100:110, 100:110] = 240  # a hole of 6,400 um2
    glass[50:55, 250:255] = pink  # a speck of 1,600 um2
    glass[100:130, 240:270] = pink  # a piece of 57,600 um2
    mask = tissue_mask(glass, (8.0, 8.0))
    assert not mask[50, 50]
    assert mask[105, 105]
    assert not mask[52, 252]
    assert mask[115, 255]
    larger = replace(TissueSettings(), max_hole_um2=50_000.0, min_piece_um2=500.0)
    mask = tissue_mask(glass, (8.0, 8.0), larger)
    assert mask[50, 50]
    assert mask[52, 252]
    assert not tissue_mask(glass, (2.0, 2.0), larger)[55, 280]


def test_a_small_crop_keeps_pieces_smaller_than_a_speck():
    crop = np.full((24, 28, 3), 240, np.uint8)
    crop[:, 14:20] = (200, 120, 180)
    assert tissue_mask(crop, (8.0, 8.0))[12, 16]


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (2, 3)])
def test_the_smallest_pictures_are_judged(shape):
    stained = np.full((*shape, 3), (180, 90, 150), np.uint8)
    assert tissue_mask(stained, OVERVIEW_MPP).all()


def test_turning_the_picture_turns_the_mask():
    image, _ = phantom()
    mask = tissue_mask(image, (8.0, 7.6))
    turned = tissue_mask(np.rot90(image).copy(), (7.6, 8.0))
    assert (turned != np.rot90(mask)).mean() < 1e-3


def test_an_overview_at_twice_the_mpp_agrees():
    image, _ = phantom()
    coarse = image.reshape(120, 2, 160, 2, 3).mean((1, 3)).round().astype(np.uint8)
    fine = tissue_mask(image, OVERVIEW_MPP)
    mask = tissue_mask(coarse, (16.0, 15.2)).repeat(2, 0).repeat(2, 1)
    assert iou(mask, fine) > 0.95


@pytest.mark.parametrize(
    ("slide", "low", "high"),
    [("slides/cmu-1-small-region.svs", 0.38, 0.44), ("slides/camelyon-overview.dcm", 0.23, 0.28)],
)
def test_real_slides(real_data, slide, low, high):
    # Bounds are those of the outlines seen in the picture, dust, ink and stripes left out.
    with open_slide(real_data / slide) as opened:
        image, scale = read_overview(opened, 8.0)
        mpp = (opened.mpp.x * scale[0], opened.mpp.y * scale[1])
    mask = tissue_mask(image, mpp)
    assert low < mask.mean() < high
    edges = np.concatenate([mask[0], mask[: len(mask) // 3, 0]])
    assert not edges.any()


def test_no_square_marked_as_tumour_is_lost(real_data):
    squares = 0
    for name in ("8863", "8864", "8865"):
        with open_slide(real_data / "idc" / f"{name}.tif", Mpp(4.0, 4.0)) as opened:
            image, scale = read_overview(opened, 8.0)
            grid = PatchGrid(opened.size_l0, (1.0, 1.0), 50)
        with Image.open(real_data / "idc" / f"{name}_mask.png") as picture:
            tumour = np.asarray(picture) > 127
        truth_scale = (
            grid.slide_px.width / tumour.shape[1],
            grid.slide_px.height / tumour.shape[0],
        )
        marked = foreground_shares(tumour, truth_scale, grid) >= 0.5
        squares += marked.sum()
        shares = foreground_shares(tissue_mask(image, (8.0, 8.0)), scale, grid)
        assert (shares[marked] >= 0.1).all()
    assert squares > 500


def test_a_haemorrhage_is_not_red_ink(real_data):
    with open_slide(real_data / "idc" / "8913.tif", Mpp(4.0, 4.0)) as opened:
        image, _ = read_overview(opened, 8.0)
    assert tissue_mask(image, (8.0, 8.0))[110:300, 85:140].mean() > 0.95
