"""What is written is what CLAM's and TRIDENT's readers ask for, and means the same squares."""

from __future__ import annotations

import resource
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.store.h5_files import grid_coords, random_features
from wsikit.errors import UsageError
from wsikit.geometry import PatchGrid
from wsikit.store.h5_layout import Layout
from wsikit.store.h5_reader import read_bag, written_recipe
from wsikit.store.h5_writer import H5Description, write_bag
from wsikit.types import Mpp, Size

COORDS = grid_coords(40, 30, 1024)
FEATURES = random_features(len(COORDS), 6)


def description(scale: float = 2.0, downsamples: dict[int, float] | None = None) -> H5Description:
    grid = PatchGrid(Size(41_000, 31_000), (scale, scale), 512)
    return H5Description(
        "s1", "enc-1", "f" * 64, grid, Mpp(0.25, 0.25), Mpp(0.25 * scale, 0.25 * scale),
        downsamples=downsamples or {},
    )  # fmt: skip


def write(path: Path, layout: Layout, about: H5Description, dtype: str = "f4") -> Path:
    blocks = (FEATURES[i : i + 700] for i in range(0, len(FEATURES), 700))
    write_bag(path, about, layout, COORDS, 6, np.dtype(dtype), blocks)
    return path


def attributes(path: Path) -> dict[str, object]:
    with h5py.File(path) as file:
        return dict(file["coords"].attrs)


def test_both_data_sets_as_every_loader_takes_them(tmp_path: Path) -> None:
    path = write(tmp_path / "s1.h5", "trident", description())
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["features"][:], FEATURES)
        np.testing.assert_array_equal(file["coords"][:], COORDS)
        assert file["features"].dtype == np.float32
        assert file["coords"].dtype == np.int64
        assert file["features"].chunks == (1024, 6)


def test_trident_reads_the_same_squares(tmp_path: Path) -> None:
    """Its patcher: um per px is 10 / magnification, a side is round(patch_size * ratio)."""
    for scale in (1.0, 2.0, 1.37):
        path = write(tmp_path / f"{scale}.h5", "trident", description(scale))
        said = attributes(path)
        assert said["patch_size"] == 512
        ratio = (10 / said["target_magnification"]) / (10 / said["level0_magnification"])  # type: ignore[operator]
        assert round(512 * ratio) == said["patch_size_level0"] == round(512 * scale)
        assert ("overlap" in said) == (scale in (1, 2))  # there the corners are the grid's
        assert (said["level0_width"], said["level0_height"]) == (41_000, 31_000)
        assert said["name"] == "s1"


def test_clam_reads_the_same_squares(tmp_path: Path) -> None:
    """Its reader: `patch_size` px of `patch_level`; the level's downsample gives level-0 px."""
    level = {0: 1.0, 1: 2.0, 2: 4.0}
    for about, expected in (
        (description(2.0, level), (1, 512, 2.0)),
        (description(2.0), (0, 1024, 1.0)),
        (description(1.0), (0, 512, 1.0)),
    ):
        said = attributes(write(tmp_path / "s1.h5", "clam", about))
        patch_level, patch_size, downsample = expected
        assert (said["patch_level"], said["patch_size"]) == (patch_level, patch_size)
        assert tuple(said["downsample"]) == (downsample, downsample)  # type: ignore[arg-type]
        assert np.asarray(said["level_dim"])[0] == round(41_000 / downsample)
        assert patch_size * downsample == said["patch_size_level0"]
        assert "level0_magnification" not in said  # so TRIDENT goes by CLAM's attributes


def test_a_level_is_stated_only_where_it_is_true(tmp_path: Path) -> None:
    """Read as CLAM would, a patch_level of 0 would make squares of half the side."""
    said = attributes(write(tmp_path / "a.h5", "trident", description(2.0)))
    assert "patch_level" not in said
    said = attributes(write(tmp_path / "b.h5", "trident", description(2.0, {0: 1.0, 1: 2.0})))
    assert said["patch_level"] == 1


@pytest.mark.parametrize("layout", ["trident", "clam"])
def test_it_comes_back_and_says_nothing_of_the_machine(tmp_path: Path, layout: Layout) -> None:
    path = write(tmp_path / "s1.h5", layout, description())
    bag = read_bag(path)
    np.testing.assert_array_equal(bag.features, FEATURES)
    np.testing.assert_array_equal(bag.coords, COORDS)
    own = bag.facts.own
    assert own is not None
    assert (own.encoder_id, own.patch_px, own.scale) == ("enc-1", 512, (2.0, 2.0))
    assert (own.size_l0, own.mpp_l0) == ((41_000, 31_000), (0.25, 0.25))
    assert written_recipe(path) == "f" * 64
    assert str(tmp_path).encode() not in path.read_bytes()
    assert not {"save_path", "savetodir"} & set(attributes(path))


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    first = write(tmp_path / "a" / "s1.h5", "trident", description()).read_bytes()
    second = write(tmp_path / "b" / "s1.h5", "trident", description()).read_bytes()
    assert first == second


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def blocks():
        yield FEATURES[:700]
        raise ValueError("the store is damaged")

    with pytest.raises(ValueError, match="damaged"):
        write_bag(tmp_path / "s1.h5", description(), "clam", COORDS, 6, np.dtype("f4"), blocks())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("room", [0, 100, 5_000, 40_000, 80_000])
def test_a_full_disk_is_an_error_and_no_crash(tmp_path: Path, room: int) -> None:
    """Whatever it is that has no room; told of it, HDF5 would end the process a file later."""
    size = write(tmp_path / "whole.h5", "trident", description()).stat().st_size
    assert size > 80_000
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        for _ in range(3):
            with pytest.raises(UsageError, match=r"cannot write .*s1\.h5: File too large"):
                write(tmp_path / "s1.h5", "trident", description())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["whole.h5"]


def test_a_slide_without_patches(tmp_path: Path) -> None:
    none = np.zeros((0, 2), np.int64)
    write_bag(tmp_path / "s1.h5", description(), "trident", none, 6, np.dtype("f4"), [])
    assert read_bag(tmp_path / "s1.h5").features.shape == (0, 6)
