"""Histogram matching against scikit-image's, and the ends that we treat otherwise."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from skimage.exposure import match_histograms

from wsikit.errors import ConfigError
from wsikit.stain.histogram import (
    MIN_TISSUE_PX,
    apply_table,
    identity_table,
    matching_table,
    tissue_histogram,
)
from wsikit.stain.reference import load_reference, reference_digest


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
    tissue = np.zeros((100, 100), bool)
    tissue.ravel()[: MIN_TISSUE_PX - 1] = True
    table = matching_table(tissue_histogram(image, tissue), load_reference())
    np.testing.assert_array_equal(table, identity_table())
    tissue[:] = False
    np.testing.assert_array_equal(
        matching_table(tissue_histogram(image, tissue), load_reference()), identity_table()
    )


def test_the_table_is_applied_pixel_by_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    table = np.random.default_rng(1).integers(0, 256, (3, 256), dtype=np.uint8)
    out = apply_table(image, table)
    for y, x, c in np.ndindex(image.shape):
        assert out[y, x, c] == table[c, image[y, x, c]]


def test_the_packaged_reference_is_made_by_program() -> None:
    script = Path(__file__).parents[2] / "pipelines" / "stain_reference.py"
    made = runpy.run_path(str(script))["reference_histogram"]()
    np.testing.assert_array_equal(made, load_reference())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"histogram": 1}',
        '{"histogram": [[1]]}',
        json.dumps({"histogram": [[-1] * 256] * 3}),
    ],
)
def test_a_reference_that_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match="histogram"):
        load_reference(str(path))


def test_an_absent_reference_names_its_key() -> None:
    with pytest.raises(ConfigError, match=r"tile\.stain\.reference: nowhere\.json cannot be read"):
        load_reference("nowhere.json")


def test_the_digest_tells_references_apart() -> None:
    reference = load_reference()
    assert reference_digest(reference) == reference_digest(reference.copy())
    assert reference_digest(reference) != reference_digest(reference + 1)
