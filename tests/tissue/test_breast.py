"""The breast is found where the phantom's is, and on real films their labels are left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsikit.phantoms.mammograms import phantom_mammogram
from wsikit.tissue.breast import breast_mask, mask_box
from wsikit.types import Size


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("size", [Size(320, 480), Size(1500, 2100)])
def test_the_breast_is_found_and_the_label_is_not(size: Size, left: bool) -> None:
    made = phantom_mammogram([True], size, np.random.default_rng(1), left)
    found = breast_mask(made.pixels)
    both, either = (found & made.breast).sum(), (found | made.breast).sum()
    assert both / either > 0.9
    label = slice(0, size.height // 8)
    outer = slice(round(0.8 * size.width), None) if left else slice(0, round(0.2 * size.width))
    assert not found[label, outer].any()


def test_it_does_not_depend_on_depth() -> None:
    pixels = phantom_mammogram([], Size(320, 480), np.random.default_rng(2)).pixels
    np.testing.assert_array_equal(breast_mask(pixels), breast_mask((pixels // 2).astype(np.uint16)))


@pytest.mark.parametrize("value", [0, 40000])
def test_an_even_picture_has_none(value: int) -> None:
    mask = breast_mask(np.full((300, 200), value, np.uint16))
    assert not mask.any()
    assert mask_box(mask) is None


def test_strips_along_the_edges_of_a_film_are_no_breast() -> None:
    made = phantom_mammogram([], Size(400, 600), np.random.default_rng(3), left=False)
    pixels = made.pixels.copy()
    pixels[:, :12] = 65535  # a bright border beside the film
    pixels[:, 394:] = 65535  # and a narrow one along the chest
    found = breast_mask(pixels)
    assert not found[:, :12].any()
    box = mask_box(found)
    truth = mask_box(made.breast)
    assert box is not None
    assert truth is not None
    assert abs(box.y - truth.y) < 20
    assert abs(box.height - truth.height) < 40


def test_a_box_holds_what_is_marked_exactly() -> None:
    mask = np.zeros((40, 50), bool)
    mask[7:13, 21:30] = True
    assert mask_box(mask) == (21, 7, 9, 6)


def test_real_films_lose_labels_and_keep_lesions(real_data: Path) -> None:
    from wsikit.stages.ingest.mini_mias import lesion_box, read_findings

    folder = real_data / "mammo" / "mini_mias"
    findings, _ = read_findings(folder)
    inside = []
    for finding in [f for f in findings if f.circle][::3]:
        image = np.asarray(Image.open(folder / f"{finding.name}.png"))
        mask = breast_mask(image)
        assert 0.1 < mask.mean() < 0.95
        assert finding.circle is not None
        box = lesion_box(finding.circle, 512, 512)
        x, y = round(box.x + box.width / 2), round(box.y + box.height / 2)
        inside.append(bool(mask[y, x]))
    assert np.mean(inside) > 0.95  # a centre or two lie on the film's edge


def test_real_full_mammograms(real_data: Path) -> None:
    paths = sorted((real_data / "mammo" / "cbis_ddsm_sample").rglob("*=full.png"))
    assert len(paths) == 2
    for path in paths:
        image = np.asarray(Image.open(path))
        mask = breast_mask(image)
        assert mask.shape == image.shape
        assert 0.15 < mask.mean() < 0.6
        # Its label lies in the upper left eighth, and is the brightest thing there.
        assert not mask[: image.shape[0] // 4, : image.shape[1] // 4].any()
