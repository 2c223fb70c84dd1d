"""Focus: sharp real tissue passes, its blurred copies do not."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from wsikit.phantoms.render import render_block
from wsikit.phantoms.spec import PhantomSpec
from wsikit.slides.open import open_slide
from wsikit.tissue.sharpness import SHARPNESS_CUT, sharpness
from wsikit.types import Box, Mpp, Size


def blurred(image, um, mpp):
    """Return an image out of focus as a scanner would: soft, noisy, JPEG at quality 80."""
    soft = ndimage.gaussian_filter(image.astype(np.float32), (um / mpp, um / mpp, 0))
    soft = soft + np.random.default_rng(0).normal(0, 1, image.shape)
    picture = np.clip(soft.round(), 0, 255).astype(np.uint8)
    return imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(picture, level=80))


def halved(image):
    height, width = image.shape[0] // 2, image.shape[1] // 2
    whole = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
    return whole.mean((1, 3)).round().astype(np.uint8)


@pytest.fixture(scope="module")
def cmu(real_data):
    """Patches of 256 px that hold some tissue: dermis, keratin, epidermis, edges."""
    with open_slide(real_data / "slides/cmu-1-small-region.svs") as slide:
        image = slide.read(Box(0, 0, 2220, 2967))
    patches = [
        image[y : y + 256, x : x + 256] for y in range(0, 2700, 256) for x in range(0, 1900, 256)
    ]
    return [p for p in patches if (np.ptp(p.astype(int), axis=2) > 20).mean() > 0.1]


def test_sharp_real_skin_passes_and_is_caught_when_blurred(cmu):
    assert len(cmu) > 40
    assert min(sharpness(p, (0.499, 0.499)) for p in cmu) > 2 * SHARPNESS_CUT
    soft = [sharpness(blurred(p, 2.0, 0.499), (0.499, 0.499)) for p in cmu]
    assert max(soft) < SHARPNESS_CUT


def test_it_holds_at_twice_the_mpp(cmu):
    assert min(sharpness(halved(p), (0.998, 0.998)) for p in cmu) > 1.8 * SHARPNESS_CUT
    soft = [sharpness(halved(blurred(p, 2.0, 0.499)), (0.998, 0.998)) for p in cmu]
    assert np.mean(np.array(soft) < SHARPNESS_CUT) > 0.97


@pytest.mark.parametrize(
    ("pictures", "mpp"),
    [("ucsb/*.png", 0.5), ("breakhis/*-40-*.png", 0.49), ("breakhis/*-100-*.png", 0.2)],
)
def test_no_picture_in_focus_is_rejected(real_data, pictures, mpp):
    # Stroma, fat, mucin and pale tissue, by several microscopes and cameras.
    paths = sorted(real_data.glob(pictures))
    assert len(paths) >= 9
    for path in paths:
        image = np.asarray(Image.open(path).convert("RGB"))
        assert sharpness(image, (mpp, mpp)) > 1.5 * SHARPNESS_CUT, path.name


def test_phantom_tissue_passes_and_is_caught_when_blurred():
    spec = PhantomSpec("slide", Size(3000, 2300), Mpp(0.5, 0.49), 1, True, "dune")
    patch = render_block(spec, 1200, 900, 512, 512)
    assert sharpness(patch, spec.mpp) > 2 * SHARPNESS_CUT
    values = [sharpness(blurred(patch, um, 0.5), spec.mpp) for um in (0.5, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[2] < SHARPNESS_CUT


def test_the_amount_of_stain_cancels_out():
    spec = PhantomSpec("slide", Size(3000, 2300), Mpp(0.5, 0.49), 1, True, "dune")
    patch = render_block(spec, 1200, 900, 512, 512).astype(float)
    pale = np.round(245 - 0.4 * (245 - patch)).clip(0, 255).astype(np.uint8)
    full = patch.astype(np.uint8)
    assert sharpness(pale, spec.mpp) == pytest.approx(sharpness(full, spec.mpp), rel=0.05)


def test_distances_are_physical():
    rng = np.random.default_rng(0)
    fine = ndimage.gaussian_filter(rng.normal(0, 1, (512, 512)), 4)
    picture = np.clip(128 + 300 * fine, 0, 255)[..., None].repeat(3, 2).astype(np.uint8)
    stretched = picture.repeat(2, axis=1)[:, :512]
    assert sharpness(stretched, (0.25, 0.5)) == pytest.approx(
        sharpness(picture, (0.5, 0.5)), rel=0.1
    )


@pytest.mark.parametrize(
    ("shape", "mpp"), [((64, 64), 8.0), ((64, 64), 1.3), ((8, 200), 0.5), ((1, 1), 0.5)]
)
def test_where_nothing_can_be_said_the_patch_passes(shape, mpp):
    patch = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    assert sharpness(patch, (mpp, mpp)) == 1.0


def test_glass_is_not_out_of_focus():
    shade = np.linspace(236, 240, 256)[:, None, None].repeat(256, 1).repeat(3, 2)
    assert sharpness(shade.round().astype(np.uint8), (0.5, 0.5)) == 1.0
