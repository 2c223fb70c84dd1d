"""The store: what goes in comes out, whole or not at all."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zarr

from wsikit.errors import StoreError
from wsikit.geometry import PatchGrid
from wsikit.store.codecs import CodecName
from wsikit.store.decisions import REASONS, Decisions
from wsikit.store.derived_writer import write_features, write_graph
from wsikit.store.recipe import differences, recipe_id
from wsikit.store.slide_writer import Judgement, Shard, SlideWriter
from wsikit.store.status import StageStatus
from wsikit.store.store import Store, checked_slide_id
from wsikit.types import Size

GRID = PatchGrid(Size(1000, 1300), (2.0, 2.0), 32)  # 500 x 650 store px: 21 rows, 16 cols
KEPT = [(0, 0), (0, 15), (9, 3), (20, 15), (20, 0), (7, 8)]


def patch(row: int, col: int) -> np.ndarray:
    rng = np.random.default_rng(row * 100 + col)
    return rng.integers(0, 200, (32, 32, 3), dtype=np.uint8)


def attributes(recipe: str = "r1") -> dict[str, Any]:
    return {
        "recipe_id": recipe,
        "recipe": {"size": 32, "source": "abc"},
        "size_l0": [1000, 1300],
        "mpp_l0": [0.25, 0.26],
        "mpp": [0.5, 0.52],
        "scale": [2.0, 2.0],
        "patch_px": 32,
        "thumbnail_scale": [64.0, 64.0],
    }


THUMBNAIL = np.full((20, 15, 3), 240, np.uint8)
SHARDS = sorted({(r // 8, c // 8) for r, c in KEPT})
DROPPED = (1, 2)
"""A patch whose pixels were read and judged background."""


def survey() -> Decisions:
    """What was known beforehand: only the kept patches and one more are worth reading."""
    shape = (GRID.rows, GRID.cols)
    reason = np.full(shape, REASONS.index("tissue"), np.uint8)
    for place in [*KEPT, DROPPED]:
        reason[place] = 0
    return Decisions(np.full(shape, 0.01, np.float32), np.full(shape, np.nan, np.float32), reason)


def writer_of(store: Store, slide_id: str = "s", codec: CodecName = "zstd") -> SlideWriter:
    return SlideWriter(store.staging_path(f"{slide_id}.zarr"), GRID, (codec, 90, "420"))


def write_shard(writer: SlideWriter, place: tuple[int, int]) -> None:
    mine = [(r, c) for r, c in KEPT if (r // 8, c // 8) == place]
    judged = [Judgement(r, c, 0.5 + c / 100, 10.0 + r, 0) for r, c in mine]
    if place == (0, 0):
        judged.append(Judgement(*DROPPED, 0.3, 4.0, REASONS.index("entropy")))
    encode = writer.encoder()
    writer.write_shard(Shard(*place), {(r, c): encode(patch(r, c)) for r, c in mine}, judged)


def write_slide(store: Store, slide_id: str = "s", codec: CodecName = "zstd") -> None:
    writer = writer_of(store, slide_id, codec)
    if not writer.has_begun("r1"):
        writer.begin(attributes(), THUMBNAIL, survey())
    for place in SHARDS:
        if not writer.is_written(Shard(*place)):
            write_shard(writer, place)
    writer.finish(store.slide_path(slide_id))


def dense(store: Store, slide_id: str = "s") -> np.ndarray:
    """The whole image through zarr itself, channels first."""
    return np.asarray(zarr.open_array(store.slide_path(slide_id) / "0", mode="r")[:])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store", {"size": 32})


def test_patches_come_back_in_shard_order_with_their_places(store: Store) -> None:
    write_slide(store)
    slide = store.slide("s")
    assert len(slide.patches) == len(KEPT)
    index = slide.patches
    wanted = sorted(KEPT, key=lambda rc: (rc[0] // 8, rc[1] // 8, *rc))
    found = list(zip(index.row.tolist(), index.col.tolist(), strict=True))
    assert sorted(found) == sorted(KEPT)
    assert [(r // 8, c // 8) for r, c in found] == [(r // 8, c // 8) for r, c in wanted]
    for i, (row, col) in enumerate(found):
        x, y = GRID.origin_l0(row, col)
        assert (index.x[i], index.y[i]) == (x, y)
        np.testing.assert_array_equal(slide.read_patch(i), patch(row, col))
        theirs = dense(store)[:, row * 32 : row * 32 + 32, col * 32 : col * 32 + 32]
        inside = patch(row, col).transpose(2, 0, 1)[:, : theirs.shape[1], : theirs.shape[2]]
        np.testing.assert_array_equal(theirs, inside)


def test_what_was_decided_comes_back_for_the_whole_grid(store: Store) -> None:
    write_slide(store)
    decisions = store.slide("s").decisions
    assert decisions.counts() | {"tissue": 0} == {
        "kept": 6, "tissue": 0, "rgb": 0, "entropy": 1, "blur": 0, "region": 0, "damaged": 0,
    }  # fmt: skip
    assert decisions.counts()["tissue"] == GRID.rows * GRID.cols - 7
    assert decisions.reason[DROPPED] == REASONS.index("entropy")
    assert decisions.entropy[DROPPED] == 4.0
    assert np.isnan(decisions.entropy[0, 1])
    assert decisions.foreground[9, 3] == np.float32(0.53)
    assert decisions.foreground[0, 1] == np.float32(0.01)


def test_only_foreground_is_on_disk(store: Store) -> None:
    write_slide(store)
    image = dense(store).transpose(1, 2, 0)
    assert image.shape == (650, 500, 3)
    covered = np.zeros((650, 500), bool)
    for row, col in KEPT:
        covered[row * 32 : row * 32 + 32, col * 32 : col * 32 + 32] = True
    assert (image[~covered] == 255).all()
    shards = list((store.slide_path("s") / "0").rglob("c/0/*/*"))
    assert len(shards) == len({(r // 8, c // 8) for r, c in KEPT})


def test_a_finished_slide_leaves_nothing_in_staging(store: Store) -> None:
    write_slide(store)
    assert not list((store.path / ".staging").iterdir())
    assert store.slide_ids() == ["s"]


def test_a_stopped_slide_continues_and_ends_in_the_same_bytes(store: Store) -> None:
    write_slide(store, "whole")
    writer = writer_of(store, "stopped")
    writer.begin(attributes(), THUMBNAIL, survey())
    write_shard(writer, SHARDS[0])
    shard = writer.staging / "0" / "c" / "0" / "0" / "0"
    written = shard.stat().st_mtime_ns
    assert store.slide_ids() == ["whole"]
    write_slide(store, "stopped")
    assert tree(store.slide_path("stopped")) == tree(store.slide_path("whole"))
    again = store.slide_path("stopped") / "0" / "c" / "0" / "0" / "0"
    assert again.stat().st_mtime_ns == written


def test_another_recipe_starts_from_nothing(store: Store) -> None:
    writer = writer_of(store)
    writer.begin(attributes("r1"), THUMBNAIL, survey())
    write_shard(writer, SHARDS[0])
    assert (writer.has_begun("r1"), writer.has_begun("r2")) == (True, False)
    writer.begin(attributes("r2"), THUMBNAIL, survey())
    assert (writer.has_begun("r1"), writer.has_begun("r2")) == (False, True)
    assert not writer.is_written(Shard(*SHARDS[0]))


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


@pytest.mark.parametrize("codec", ["jpeg", "jpegxl", "zstd"])
def test_every_codec_gives_patches_back(store: Store, codec: CodecName) -> None:
    write_slide(store, codec=codec)
    slide = store.slide("s")
    got = slide.read_patch(0).astype(int)
    wanted = patch(int(slide.patches.row[0]), int(slide.patches.col[0]))
    assert np.abs(got - wanted).max() == 0 or codec == "jpeg"


def test_another_ome_zarr_reader_opens_it(store: Store) -> None:
    """ome-zarr reads the metadata and tensorstore, which shares no code with zarr, the pixels."""
    import tensorstore
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    write_slide(store)
    path = store.slide_path("s")
    location = parse_url(path)
    assert location is not None
    node = next(iter(Reader(location)()))
    assert node.metadata["axes"] == [
        {"name": "c", "type": "channel"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    assert node.metadata["coordinateTransformations"] == [
        [{"type": "scale", "scale": [1, 0.52, 0.5]}]
    ]
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path / "0")}}
    theirs = tensorstore.open(spec, read=True).result().read().result()
    np.testing.assert_array_equal(theirs, dense(store))
    np.testing.assert_array_equal(theirs, np.asarray(node.data[0]))


def test_features_and_graphs_come_back(store: Store) -> None:
    write_slide(store)
    features = np.random.default_rng(0).normal(size=(len(KEPT), 7)).astype(np.float16)
    edges = np.array([[0, 1, 2], [1, 0, 5]], np.int64)
    distance = np.array([1.0, 1.0, 2.5], np.float32)
    write_features(store, "s", "enc-1", features, {"recipe_id": "f"})
    write_graph(store, "s", "knn2-enc-1", edges, distance, {"recipe_id": "g"})
    slide = store.slide("s")
    np.testing.assert_array_equal(slide.features("enc-1"), features)
    assert slide.features("enc-1").dtype == np.float16
    for got, wanted in zip(slide.graph("knn2-enc-1"), (edges, distance), strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert (slide.encoder_ids(), slide.graph_ids()) == (["enc-1"], ["knn2-enc-1"])
    assert slide.derived_attributes("features/enc-1") == {"recipe_id": "f"}
    assert slide.derived_attributes("features/other") == {}
    assert store.encoder_ids() == ["enc-1"]


def test_a_graph_without_edges_comes_back(store: Store) -> None:
    write_slide(store)
    write_graph(store, "s", "g", np.zeros((2, 0), np.int64), np.zeros(0, np.float32), {})
    assert store.slide("s").graph("g")[0].shape == (2, 0)


def test_features_of_another_number_of_patches_are_refused(store: Store) -> None:
    write_slide(store)
    write_features(store, "s", "enc", np.zeros((2, 3), np.float32), {})
    with pytest.raises(StoreError, match="2 features for 6 patches"):
        store.slide("s").features("enc")


@pytest.mark.parametrize(
    ("edges", "distance"),
    [
        ([[0, 6], [6, 0]], [1.0, 1.0]),  # a patch beyond the six
        ([[0, -2], [-2, 0]], [1.0, 1.0]),
        ([[0, 1], [1, 0]], [1.0]),
        ([[0, 1, 2]], [1.0, 1.0, 1.0]),
    ],
)
def test_a_graph_of_other_patches_is_refused(
    store: Store, edges: list[list[int]], distance: list[float]
) -> None:
    write_slide(store)
    write_graph(store, "s", "g", np.array(edges), np.array(distance, np.float32), {})
    with pytest.raises(StoreError, match="graphs/g/edge_index does not fit the slide's 6 patches"):
        store.slide("s").graph("g")


def test_features_that_are_no_table_are_refused(store: Store) -> None:
    write_slide(store)
    zarr.create_array(
        store.slide_path("s") / "features" / "enc", data=np.ones(6, np.float16), overwrite=True
    )
    with pytest.raises(StoreError, match=r"an array of shape \(6,\) as features for 6 patches"):
        store.slide("s").features("enc")


def test_what_is_not_there_says_which_command_makes_it(store: Store) -> None:
    write_slide(store)
    with pytest.raises(StoreError, match="wsikit extract"):
        store.slide("s").features("enc")
    with pytest.raises(StoreError, match="wsikit graph"):
        store.slide("s").graph("g")
    with pytest.raises(StoreError, match="'t' is not in the store"):
        store.slide("t")


def test_another_recipe_is_refused_and_names_what_changed(tmp_path: Path) -> None:
    Store.create(tmp_path, {"size": 512, "stain": {"method": "none"}})
    Store.create(tmp_path, {"size": 512, "stain": {"method": "none"}})
    (tmp_path / "slides" / "s.zarr").mkdir()
    with pytest.raises(
        StoreError, match=r"another recipe \(size: 512 -> 256; stain.method: none ->"
    ):
        Store.create(tmp_path, {"size": 256, "stain": {"method": "histogram"}})
    Store.create(tmp_path, {"size": 256}, overwrite=True)
    assert Store(tmp_path).tile_recipe == {"size": 256}


def test_of_many_differences_a_few_are_named_and_of_another_kind_of_store_none(
    tmp_path: Path,
) -> None:
    recipe = {f"key{n}": 0 for n in range(9)}
    Store.create(tmp_path, recipe)
    (tmp_path / "slides" / "s.zarr").mkdir()
    with pytest.raises(StoreError, match="key7: 0 -> 1; and 1 more"):
        Store.create(tmp_path, dict.fromkeys(recipe, 1))
    with pytest.raises(StoreError, match=r"made by 'wsikit tile': name another store$"):
        Store.create(tmp_path, {**recipe, "ingest": "breakhis"})


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(StoreError, match="holds other things and no store"):
        Store.create(tmp_path, {})
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.docx"]
    (tmp_path / "thesis.docx").unlink()
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "a.svs").touch()
    with pytest.raises(StoreError, match="holds other things and no store"):
        Store.create(tmp_path, {})


@pytest.mark.parametrize("made", range(4))
def test_a_store_whose_making_was_cut_off_is_made(tmp_path: Path, made: int) -> None:
    """By a kill or a full disk, before its description was written."""
    for folder in ("slides", "status", ".staging")[:made]:
        (tmp_path / folder).mkdir()
    (tmp_path / ".wsikit.json.host.1.part").write_text("{")
    Store.create(tmp_path, {"size": 32})
    assert Store(tmp_path).tile_recipe == {"size": 32}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no store here"),
        ("{", "not the description of a store"),
        ('{"schema": 99, "kind": "wsi", "tile": {}}', "schema 99"),
        ('{"schema": 1}', "not the description"),
    ],
)
def test_what_is_no_store_says_so(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "wsikit.json").write_text(content)
    with pytest.raises(StoreError, match=message):
        Store(tmp_path)


@pytest.mark.parametrize(
    "bad", ["", "../x", "a/b", ".hidden", "-rf", "a\x00b", "x" * 129, "a b", "é"]
)
def test_a_slide_id_never_leaves_the_store(bad: str) -> None:
    with pytest.raises(StoreError, match="cannot name a file"):
        checked_slide_id(bad)


def test_status_is_kept_by_stage(store: Store) -> None:
    done = StageStatus("done", "abc", seconds=1.5, source="f", stamp=((10, 20),))
    store.set_status("s", "tile", done)
    store.set_status("s", "extract.e", StageStatus("failed", reason="why"))
    assert store.status("s") == {"tile": done, "extract.e": StageStatus("failed", reason="why")}
    assert store.status("unknown") == {}
    assert store.known_ids() == ["s"]


def test_a_damaged_status_names_its_file(store: Store) -> None:
    (store.path / "status" / "s.json").write_text("[]")
    with pytest.raises(StoreError, match=r"s\.json: not a status file"):
        store.status("s")


def test_a_damaged_chunk_names_its_patch(store: Store) -> None:
    write_slide(store, codec="jpeg")
    for shard in (store.slide_path("s") / "0").rglob("c/0/*/*"):
        data = bytearray(shard.read_bytes())
        data[: len(data) // 2] = bytes(len(data) // 2)
        shard.write_bytes(data)
    with pytest.raises(StoreError, match=r"s\.zarr: patch at row 0, column 0 cannot be decoded"):
        store.slide("s").read_patch(0)


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "lie"])
def test_a_damaged_shard_names_its_patch(store: Store, damage: str) -> None:
    write_slide(store)
    shard = store.slide_path("s") / "0" / "c" / "0" / "0" / "0"
    data = bytearray(shard.read_bytes())
    if damage == "flip":
        data[-20] ^= 1
    elif damage == "cut":
        data = data[:100]
    elif damage == "lie":  # a good checksum over a place outside the file
        table = np.frombuffer(bytes(data[-1028:-4]), "<u8").copy()
        table[0] = 1 << 40
        data[-1028:-4] = table.tobytes()
        data[-4:] = google_crc32c.value(table.tobytes()).to_bytes(4, "little")
    shard.write_bytes(data) if damage != "gone" else shard.unlink()
    with pytest.raises(StoreError, match=r"s\.zarr: patch at row 0, column 0 cannot be decoded"):
        store.slide("s").read_patch(0)


@pytest.mark.parametrize(
    "part",
    [
        "patches/x",
        "patches/foreground",
        "decisions/reason",
        "decisions/foreground",
        "features/e",
        "graphs/g/distance",
    ],
)
def test_a_missing_part_is_never_read_as_zeros(store: Store, part: str) -> None:
    write_slide(store)
    write_features(store, "s", "e", np.ones((len(KEPT), 3), np.float16), {})
    write_graph(store, "s", "g", np.zeros((2, 4), np.int64), np.ones(4, np.float32), {})
    for chunk in (store.slide_path("s") / part / "c").rglob("*"):
        if chunk.is_file():
            chunk.unlink()

    def read() -> None:
        slide = store.slide("s")
        slide.features("e"), slide.graph("g"), slide.patches, slide.decisions

    with pytest.raises(StoreError, match=f"a part of {part} is missing"):
        read()


def test_each_not_a_number_of_float16_counts_as_missing(store: Store) -> None:
    values = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    write_slide(store)
    for missing in (False, True):
        features = np.resize(values[np.isnan(values) == missing], (len(KEPT), 9_000))
        write_features(store, "s", "e", features, {})
        with pytest.raises(StoreError, match="missing") if missing else nullcontext():
            assert np.array_equal(store.slide("s").features("e"), features)


def test_a_damaged_thumbnail_is_one_line(store: Store) -> None:
    write_slide(store)
    for chunk in (store.slide_path("s") / "thumbnail" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"garbage" * 9)
    with pytest.raises(StoreError, match="cannot be read"):
        store.slide("s").thumbnail()


def test_a_thumbnail_that_is_not_there_is_named(store: Store) -> None:
    write_slide(store)
    shutil.rmtree(store.slide_path("s") / "thumbnail")
    with pytest.raises(StoreError, match=r"cannot be read \(it has no 'thumbnail'\)"):
        store.slide("s").thumbnail()


def test_a_slide_of_the_stores_former_recipe_is_refused(store: Store) -> None:
    write_slide(store)
    Store.create(store.path, {"size": 64}, overwrite=True)
    with pytest.raises(StoreError, match="tiled by another recipe than the store's"):
        Store(store.path).slide("s")


def test_a_store_without_slides_takes_any_recipe(tmp_path: Path) -> None:
    Store.create(tmp_path, {"size": 512})
    assert Store.create(tmp_path, {"size": 256}).tile_recipe == {"size": 256}


def test_a_damaged_slide_names_its_path(store: Store) -> None:
    write_slide(store)
    (store.slide_path("s") / "zarr.json").write_text("{}")
    with pytest.raises(StoreError, match="cannot be read"):
        store.slide("s")


def hold(path: Path, ready: Any, release: Any) -> None:
    with Store(path).lock():
        ready.set()
        release.wait(20)


def test_two_writers_do_not_meet_and_a_dead_one_holds_nothing(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    other = context.Process(target=hold, args=(store.path, ready, release))
    other.start()
    assert ready.wait(30)
    with pytest.raises(StoreError, match="another wsikit run"), store.lock():
        pass
    other.kill()
    other.join()
    with store.lock():
        pass


def test_recipe_id_ignores_order_and_nothing_else() -> None:
    assert recipe_id({"a": 1, "b": [1, 2]}) == recipe_id({"b": [1, 2], "a": 1})
    assert recipe_id({"a": 1}) != recipe_id({"a": 1.5})
    assert differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "d": 4}) == [
        "a.b: 1 -> 3",
        "c: 2 -> None",
        "d: None -> 4",
    ]


def test_no_pickle_and_no_absolute_path_in_a_store(store: Store) -> None:
    write_slide(store)
    for name, data in tree(store.path).items():
        assert str(store.path).encode() not in data, name
    group = zarr.open_group(store.slide_path("s"), mode="r")
    assert json.loads((store.slide_path("s") / "zarr.json").read_text())["zarr_format"] == 3
    assert set(group.array_keys()) == {"0", "thumbnail"}
