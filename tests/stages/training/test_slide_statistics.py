"""A slide's stain and features in a few numbers, against plain loops over pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from tests.stages.model_cohort import recipe, save_picture
from wsikit.stages.cohort import source_slides
from wsikit.stages.tiling.tile import run_tile
from wsikit.stages.training.slide_statistics import mean_features, stain_vector
from wsikit.store.derived_writer import write_features
from wsikit.store.store import Store

COLOURS = np.array([(180, 90, 150), (120, 60, 160), (210, 150, 190)], np.uint8)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A slide of plain squares: three colours and glass, 6 x 4 patches of 64 px, 14 with tissue."""
    folder = tmp_path_factory.mktemp("squares")
    pixels = np.full((256, 384, 3), 245, np.uint8)
    for n in range(14):
        row, col = divmod(n, 6)
        pixels[64 * row : 64 * row + 64, 64 * col : 64 * col + 64] = COLOURS[n % 3]
    pixels[:64, 32:64] = 245  # one of them half glass
    save_picture(pixels, folder / "a.tiff")
    tile = recipe("tile.size=64").tile
    run_tile(source_slides([folder / "a.tiff"]), folder / "store", tile)
    return Store(folder / "store")


def test_stain_is_that_of_the_patches_tissue(store: Store) -> None:
    slide = store.slide("a")
    assert slide.patch_count == 14
    density = -np.log10((COLOURS[np.arange(14) % 3].astype(float) + 1) / 256)
    expected = np.concatenate([density.mean(axis=0), density.std(axis=0)])
    found = stain_vector(slide)
    assert found is not None
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_a_coarser_thumbnail_tells_the_same(store: Store) -> None:
    slide = store.slide("a")
    fine = stain_vector(slide)
    coarse = slide.thumbnail().reshape(128, 2, 192, 2, 3).mean(axis=(1, 3)).astype(np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(slide), "thumbnail", lambda self: coarse)
        x, y = slide.thumbnail_scale
        patch.setattr(type(slide), "thumbnail_scale", (2 * x, 2 * y))
        np.testing.assert_allclose(stain_vector(slide), fine, atol=0.01)


def test_a_white_or_lost_thumbnail_tells_nothing(store: Store) -> None:
    slide = store.slide("a")
    array = zarr.open_array(slide.path / "thumbnail", mode="r+")
    kept = array[:]
    array[:] = 255
    assert stain_vector(store.slide("a")) is None
    array[:] = kept
    (slide.path / "thumbnail").rename(slide.path / "gone")
    assert stain_vector(store.slide("a")) is None
    (slide.path / "gone").rename(slide.path / "thumbnail")


def test_features_are_averaged_block_by_block(store: Store, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(14, 5)).astype(np.float16)
    write_features(store, "a", "some-random-00000000", values, {"recipe_id": "r"})
    found = mean_features(store.slide("a"), "some-random-00000000")
    np.testing.assert_allclose(found, values.astype(np.float64).mean(axis=0))
