"""Feature files of others: what is read, and that nothing in them is trusted."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.store.h5_files import clam_features, grid_coords, random_features, trident_features
from wsikit.errors import SlideError
from wsikit.store.h5_heap import heaps_are_sound
from wsikit.store.h5_reader import read_bag, read_coords, read_head, written_recipe

COORDS = grid_coords(4, 3, 512)
FEATURES = random_features(len(COORDS), 6)


def test_a_file_written_as_clam_does(tmp_path: Path) -> None:
    clam_features(tmp_path / "a.h5", FEATURES, COORDS)
    bag = read_bag(tmp_path / "a.h5")
    assert bag.features.dtype == np.float32
    np.testing.assert_array_equal(bag.features, FEATURES)
    np.testing.assert_array_equal(bag.coords, COORDS)
    assert bag.coords.dtype == np.int64
    assert bag.facts.patch_size is None


def test_a_file_written_as_trident_does(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    trident_features(path, FEATURES, COORDS, size=(9000, 8000), encoder="uni_v1")
    head = read_head(path)
    assert (head.patches, head.features) == FEATURES.shape
    assert head.facts.encoder == "uni_v1"
    assert (head.facts.patch_size, head.facts.patch_size_level0) == (256, 512)
    assert (head.facts.level0_width, head.facts.level0_height) == (9000, 8000)
    np.testing.assert_array_equal(read_bag(path).features, FEATURES)


def test_what_is_not_known_is_none_in_text_too(tmp_path: Path) -> None:
    trident_features(tmp_path / "a.h5", FEATURES, COORDS, level0_magnification="None")
    facts = read_head(tmp_path / "a.h5").facts
    assert facts.level0_magnification is None
    assert facts.encoder is None


def test_one_slide_a_batch(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"], file["coords"] = FEATURES[None], COORDS[None]
    bag = read_bag(tmp_path / "a.h5")
    np.testing.assert_array_equal(bag.features, FEATURES)
    np.testing.assert_array_equal(bag.coords, COORDS)


@pytest.mark.parametrize("filters", [{"compression": "gzip"}, {"compression": "lzf"}])
def test_compressed(tmp_path: Path, filters: dict[str, str]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("features", data=FEATURES, shuffle=True, fletcher32=True, **filters)
        file["coords"] = COORDS
    np.testing.assert_array_equal(read_bag(tmp_path / "a.h5").features, FEATURES)


@pytest.mark.parametrize(
    ("stored", "read"), [("f2", "f2"), ("f4", "f4"), (">f4", "f4"), ("f8", "f4")]
)
def test_types(tmp_path: Path, stored: str, read: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"], file["coords"] = FEATURES.astype(stored), COORDS.astype("uint16")
    bag = read_bag(tmp_path / "a.h5")
    assert bag.features.dtype == np.dtype(read)
    assert bag.features.dtype.isnative
    np.testing.assert_array_equal(bag.features, FEATURES.astype(stored).astype(read))


def test_an_empty_slide(tmp_path: Path) -> None:
    trident_features(tmp_path / "a.h5", np.zeros((0, 6), "f4"), np.zeros((0, 2), np.int64))
    bag = read_bag(tmp_path / "a.h5")
    assert bag.features.shape == (0, 6)
    assert bag.coords.shape == (0, 2)


def put(file: h5py.File, **data: object) -> None:
    file["features"], file["coords"] = FEATURES, COORDS
    for name, value in data.items():
        del file[name]
        if value is not None:
            file[name] = value


def not_finite() -> np.ndarray:
    broken = FEATURES.copy()
    broken[7, 2] = np.nan
    return broken


def chunked(file: h5py.File, **options: object) -> None:
    put(file, features=None)
    file.create_dataset("features", FEATURES.shape, "f4", chunks=(1, 6), **options)
    file["features"][:5] = FEATURES[:5]


def huge(file: h5py.File) -> None:
    """Terabytes, of which one chunk is there."""
    put(file, features=None, coords=None)
    file.create_dataset("features", (4_000_000, 60_000), "f4", chunks=(1, 1024), compression="gzip")
    file["features"][0, :1024] = 1
    file.create_dataset("coords", (4_000_000, 2), "i8", chunks=(1024, 2))


def bomb(file: h5py.File) -> None:
    """All chunks are there, and shrink a thousandfold."""
    put(file, features=None, coords=np.zeros((30_000, 2), np.int64))
    file.create_dataset(
        "features", data=np.zeros((30_000, 1000), "f4"), chunks=(30_000, 1000), compression="gzip"
    )


def huge_chunk(file: h5py.File) -> None:
    put(file, features=None)
    file.create_dataset(
        "features", FEATURES.shape, "f4", chunks=(50_000, 6000), maxshape=(None, None),
        compression="gzip",
    )  # fmt: skip


def elsewhere(file: h5py.File) -> None:
    put(file, features=None)
    file["features"] = h5py.ExternalLink("secret.h5", "/features")


def soft(file: h5py.File) -> None:
    put(file, features=None)
    file["other"] = FEATURES
    file["features"] = h5py.SoftLink("/other")


def virtual(file: h5py.File) -> None:
    put(file, features=None)
    layout = h5py.VirtualLayout(FEATURES.shape, "f4")
    layout[:] = h5py.VirtualSource("secret.h5", "features", FEATURES.shape)
    file.create_virtual_dataset("features", layout)


def external(file: h5py.File) -> None:
    put(file, features=None)
    file.create_dataset("features", FEATURES.shape, "f4", external=[("secret.bin", 0, 288)])


def objects(file: h5py.File) -> None:
    put(file, features=None)
    file.create_dataset("features", (12, 1), h5py.string_dtype())


def other_filter(file: h5py.File) -> None:
    put(file, features=None)
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk((1, 6))
    created.set_scaleoffset(h5py.h5z.SO_FLOAT_DSCALE, 3)
    space = h5py.h5s.create_simple(FEATURES.shape)
    h5py.h5d.create(file.id, b"features", h5py.h5t.NATIVE_FLOAT, space, created)
    file["features"][:] = FEATURES


BROKEN: list[tuple[Callable[[h5py.File], None], str]] = [
    (lambda f: put(f, features=None), "holds no 'features'"),
    (lambda f: put(f, coords=None), "holds no 'coords'"),
    (lambda f: put(f, features=FEATURES[:5]), "5 features for 12 coordinates"),
    (lambda f: put(f, features=not_finite()), r"not finite \(row 7, patch at x 1024, y 512\)"),
    (lambda f: put(f, features=FEATURES.astype("f8") * 1e300), "12 patches .* not finite"),
    (lambda f: put(f, features=FEATURES.astype("i4")), "not .N, D. floats"),
    (lambda f: put(f, features=FEATURES.astype("c8")), "not plain numbers"),
    (lambda f: put(f, features=np.zeros((2, 12, 6), "f4")), "not .N, D. floats"),
    (lambda f: put(f, features=np.zeros((12, 70_000), "f2")), "not believed"),
    (lambda f: put(f, coords=COORDS.astype("f8")), "not .N, 2. whole level-0 pixels"),
    (lambda f: put(f, coords=np.c_[COORDS, COORDS]), "not .N, 2. whole level-0 pixels"),
    (lambda f: put(f, coords=COORDS - 1), "no level-0 pixels"),
    (lambda f: put(f, coords=COORDS + 2**40), "no level-0 pixels"),
    (chunked, "a part of 'features' was never written"),
    (lambda f: chunked(f, compression="gzip"), "a part of 'features' was never written"),
    (huge, "in a file of fewer"),
    (bomb, "in a file of fewer"),
    (huge_chunk, "chunks that the file cannot hold"),
    (elsewhere, "'features' is a link to elsewhere"),
    (soft, "'features' is a link to elsewhere"),
    (virtual, "'features' is kept in other files"),
    (external, "'features' is kept in other files"),
    (objects, "not plain numbers"),
    (other_filter, "a filter that is not known here"),
    (lambda f: f.create_group("features/deeper"), "'features' is no array"),
]


@pytest.mark.parametrize(("make", "said"), BROKEN)
def test_what_is_refused(tmp_path: Path, make: Callable[[h5py.File], None], said: str) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        put(file)
    (tmp_path / "secret.bin").write_bytes(FEATURES.tobytes())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SlideError, match=rf"^a\.h5: .*{said}") as caught:
        read_bag(tmp_path / "a.h5")
    assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_a_file_cut_anywhere_or_of_another_kind(tmp_path: Path) -> None:
    whole = tmp_path / "whole.h5"
    trident_features(whole, FEATURES, COORDS)
    data = whole.read_bytes()
    for n, length in enumerate(np.linspace(0, len(data) - 1, 25).astype(int)):
        path = tmp_path / f"cut{n}.h5"
        path.write_bytes(data[:length])
        with pytest.raises(SlideError, match=path.name):
            read_bag(path)
    (tmp_path / "text.h5").write_text("features,coords\n")
    with pytest.raises(SlideError, match="cannot be read as HDF5"):
        read_bag(tmp_path / "text.h5")
    with pytest.raises(SlideError, match="cannot be read as HDF5"):
        read_bag(tmp_path / "absent.h5")


def test_a_heap_that_would_hang_the_library_is_not_read(tmp_path: Path) -> None:
    """One byte: the object that holds the encoder's name becomes free space of 3 bytes."""
    path = tmp_path / "a.h5"
    trident_features(path, FEATURES, COORDS, encoder="uni")
    assert heaps_are_sound(path)
    data = bytearray(path.read_bytes())
    name = data.index(b"uni\0\0\0\0\0")
    assert data[name - 16] == 3  # its number in the heap
    data[name - 16] = 0
    path.write_bytes(data)
    assert not heaps_are_sound(path)
    bag = read_bag(path)
    assert bag.facts.encoder is None
    np.testing.assert_array_equal(bag.features, FEATURES)


def test_many_names_make_several_heaps_and_all_are_sound(tmp_path: Path) -> None:
    trident_features(tmp_path / "a.h5", FEATURES, COORDS, encoder="uni")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        for n in range(300):
            file["coords"].attrs[f"more{n}"] = "word " * (n % 60)
    assert heaps_are_sound(tmp_path / "a.h5")
    assert read_head(tmp_path / "a.h5").facts.encoder == "uni"


def test_links_of_a_patch_file_are_not_followed_either(tmp_path: Path) -> None:
    """The features beside the corners may point anywhere: they are not looked at."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["coords"] = COORDS
        file["features"] = h5py.ExternalLink("absent.h5", "/features")
    coords, facts = read_coords(tmp_path / "a.h5")
    np.testing.assert_array_equal(coords, COORDS)
    assert facts.encoder is None


@pytest.mark.parametrize(
    "own",
    [
        "no json",
        "[]",
        "{}",
        "[" * 40_000,
        '{"encoder_id": "../../x", "patch_px": 1, "scale": [1, 1], "size_l0": [1, 1], '
        '"mpp_l0": [1, 1], "recipe_id": "r"}',
        '{"encoder_id": "x", "patch_px": 1, "scale": [1, 1], "size_l0": [1' + "0" * 400 + ", 1], "
        '"mpp_l0": [1, 1], "recipe_id": "r"}',
        '{"encoder_id": "x", "patch_px": 1, "scale": [NaN, 1], "size_l0": [1, 1], '
        '"mpp_l0": [1, 1], "recipe_id": "r"}',
    ],
)
def test_what_wsikit_did_not_write_so_is_passed_over(tmp_path: Path, own: str) -> None:
    trident_features(tmp_path / "a.h5", FEATURES, COORDS)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.attrs["wsikit"] = np.bytes_(own.encode())
    assert read_head(tmp_path / "a.h5").facts.own is None
    assert written_recipe(tmp_path / "a.h5") is None


def test_odd_attributes_are_passed_over(tmp_path: Path) -> None:
    more = {
        "patch_size_level0": np.arange(9),
        "target_magnification": np.nan,
        "downsample": "two",
        "level_dim": np.array([b"a", b"b"]),
        "level0_width": h5py.Empty("f8"),
    }
    trident_features(tmp_path / "a.h5", FEATURES, COORDS, **more)
    facts = read_head(tmp_path / "a.h5").facts
    assert facts.patch_size_level0 is None
    assert facts.target_magnification is None
    assert facts.downsample is None
    assert facts.level_dim is None
    assert facts.level0_width is None


@pytest.mark.parametrize("text", ["uni of Jane Doe, 1950-01-01", "uni\n\x1b[31m", "u" * 200])
def test_a_text_that_is_no_name_is_no_encoder(tmp_path: Path, text: str) -> None:
    """Whatever else stands there would enter the store."""
    trident_features(tmp_path / "a.h5", FEATURES, COORDS, encoder=text)
    assert read_head(tmp_path / "a.h5").facts.encoder is None
