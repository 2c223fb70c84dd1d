"""Collections of pictures in the store: what zarr itself reads is what went in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr

from wsikit.errors import SlideError, StoreError, UsageError
from wsikit.stages.ingest.collection import Collection
from wsikit.stages.ingest.picture_slide import write_collection
from wsikit.store.codecs import CodecName
from wsikit.store.store import Store
from wsikit.store.windows import patch_windows, read_window
from wsikit.types import Mpp, Size

WIDTH, HEIGHT, COUNT = 37, 23, 11  # two shards of eight; no side a multiple of anything


def rgb(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def grey(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    return rng.integers(0, 4096, (HEIGHT, WIDTH, 1), dtype=np.uint16)


def collection(deep: bool = False, broken: tuple[int, ...] = ()) -> Collection:
    def read(number: int) -> np.ndarray:
        if number in broken:
            raise SlideError(f"{number}.png: cut short")
        return grey(number) if deep else rgb(number)

    return Collection(
        size=Size(WIDTH, HEIGHT),
        facts=[{"sequence": n, "boxes": [[1.0, 2.0, 3.0, 4.0]]} for n in range(COUNT)],
        read=read,
        grey=deep,
        max_value=4095 if deep else 255,
        mpp=None if deep else Mpp(0.5, 0.25),
    )


def write(store: Store, pictures: Collection, codec: CodecName = "zstd") -> list[str]:
    said: list[str] = []
    write_collection(
        store, "s", pictures, {"size": WIDTH, "source": "x"}, (codec, 90, "420"), said.append
    )
    return said


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store", {"size": WIDTH})


@pytest.mark.parametrize("codec", ["zstd", "jpegxl"])
def test_rgb_pictures_come_back_to_the_byte_here_and_through_zarr(
    store: Store, codec: CodecName
) -> None:
    assert write(store, collection(), codec) == []
    slide = store.slide("s")
    dense = np.asarray(zarr.open_array(slide.path / "0", mode="r")[:])
    assert dense.shape == (3, HEIGHT * COUNT, WIDTH)
    for number in range(COUNT):
        np.testing.assert_array_equal(slide.read_patch(number), rgb(number))
        rows = slice(number * HEIGHT, (number + 1) * HEIGHT)
        np.testing.assert_array_equal(dense[:, rows].transpose(1, 2, 0), rgb(number))
    assert (slide.patch_size, slide.max_value, slide.is_grey) == ((WIDTH, HEIGHT), 255, False)
    assert slide.mpp == (0.5, 0.25)
    assert slide.mpp_known
    assert slide.is_collection


def test_grey_pictures_keep_their_depth(store: Store) -> None:
    write(store, collection(deep=True))
    slide = store.slide("s")
    array = zarr.open_array(slide.path / "0", mode="r")
    assert (array.dtype, array.shape) == (np.uint16, (1, HEIGHT * COUNT, WIDTH))
    for number in range(COUNT):
        found = slide.read_patch(number)
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found, grey(number))
        rows = slice(number * HEIGHT, (number + 1) * HEIGHT)
        np.testing.assert_array_equal(np.asarray(array[:, rows]).transpose(1, 2, 0), grey(number))
    assert (slide.max_value, slide.is_grey, slide.mpp_known) == (4095, True, False)


@pytest.mark.parametrize("deep", [False, True])
def test_the_image_is_ome_zarr(store: Store, deep: bool) -> None:
    write(store, collection(deep))
    ome = json.loads((store.slide_path("s") / "zarr.json").read_bytes())["attributes"]["ome"]
    assert ome["version"] == "0.5"
    (image,) = ome["multiscales"]
    assert [axis["name"] for axis in image["axes"]] == ["c", "y", "x"]
    assert ("unit" in image["axes"][1]) is not deep  # nobody states the resolution of these
    (transform,) = image["datasets"][0]["coordinateTransformations"]
    assert transform["scale"] == ([1.0, 1.0, 1.0] if deep else [1.0, 0.25, 0.5])
    channels = ome["omero"]["channels"]
    assert len(channels) == (1 if deep else 3)
    assert channels[0]["window"]["max"] == (4095 if deep else 255)


def test_places_and_facts_follow_the_index(store: Store) -> None:
    said = write(store, collection(broken=(0, 9)))
    assert said == ["0.png: cut short", "9.png: cut short"]
    slide = store.slide("s")
    left = [n for n in range(COUNT) if n not in (0, 9)]
    assert slide.patches.row.tolist() == left
    assert slide.patches.y.tolist() == [n * HEIGHT for n in left]
    assert set(slide.patches.col.tolist()) == {0}
    assert [facts["sequence"] for facts in slide.pictures] == left
    assert slide.decisions.counts()["damaged"] == 2
    for place, number in enumerate(left):
        np.testing.assert_array_equal(slide.read_patch(place), rgb(number))
    assert slide.thumbnail().shape == (HEIGHT * COUNT, WIDTH, 3)


def test_nothing_but_damaged_pictures_fails_and_leaves_nothing(store: Store) -> None:
    with pytest.raises(SlideError, match="none of its 11 pictures"):
        write(store, collection(broken=tuple(range(COUNT))))
    assert store.slide_ids() == []
    assert not list((store.path / ".staging").iterdir())


def test_a_stopped_slide_goes_on_and_ends_in_the_same_bytes(tmp_path: Path) -> None:
    whole = Store.create(tmp_path / "whole", {"size": WIDTH})
    write(whole, collection())
    stopped = Store.create(tmp_path / "stopped", {"size": WIDTH})
    pictures = collection()

    def until_the_second_shard(number: int) -> np.ndarray:
        if number == 9:
            raise KeyboardInterrupt
        return rgb(number)

    with pytest.raises(KeyboardInterrupt):
        write(stopped, Collection(pictures.size, pictures.facts, until_the_second_shard,
                                  mpp=pictures.mpp))  # fmt: skip
    assert stopped.slide_ids() == []
    first = next((stopped.path / ".staging").rglob("c/0/0/0")).stat().st_mtime_ns
    write(stopped, collection())
    one, other = whole.slide_path("s"), stopped.slide_path("s")
    files = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(other) for p in other.rglob("*") if p.is_file())
    assert all((one / f).read_bytes() == (other / f).read_bytes() for f in files)
    assert (other / "0/c/0/0/0").stat().st_mtime_ns == first  # not done twice


def test_a_damaged_chunk_is_one_line(store: Store) -> None:
    write(store, collection(deep=True))
    shard = store.slide_path("s") / "0/c/0/0/0"
    data = bytearray(shard.read_bytes())
    data[10:60] = bytes(50)
    shard.write_bytes(data)
    with pytest.raises(StoreError, match="row 0, column 0 cannot be decoded"):
        store.slide("s").read_patch(0)


def test_windows_are_refused_over_separate_pictures(store: Store) -> None:
    write(store, collection())
    slide = store.slide("s")
    with pytest.raises(UsageError, match="collection of pictures"):
        patch_windows(slide, 8)
    with pytest.raises(UsageError, match="collection of pictures"):
        read_window(slide, 0, 0, 8)


def test_facts_beside_the_allow_list_are_refused() -> None:
    with pytest.raises(ValueError, match="PatientName"):
        Collection(Size(1, 1), [{"PatientName": "x"}], rgb)
