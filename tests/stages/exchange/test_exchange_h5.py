"""Export and ingest: what comes back is what went out, and what cannot be taken is named."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from tests.cli.conftest import tree
from tests.stages.model_cohort import weights_file
from tests.store.h5_files import (
    clam_features,
    clam_patches,
    grid_coords,
    random_features,
    trident_features,
)
from wsikit.config import ExtractConfig, load_config
from wsikit.errors import StoreError, UsageError
from wsikit.stages.cohort import source_slides
from wsikit.stages.exchange.export import run_export
from wsikit.stages.exchange.foreign_encoder import encoder_name
from wsikit.stages.exchange.ingest_h5 import H5Options, run_ingest_h5
from wsikit.stages.extraction.extract import run_extract
from wsikit.stages.inspection.inspection import inspect_path
from wsikit.stages.inspection.patch_list import list_patches
from wsikit.stages.tiling.tile import run_tile
from wsikit.store.derived_writer import write_features
from wsikit.store.store import Store
from wsikit.types import Mpp

ENCODER = "resnet18-random-0a1b2c3d"
KNOWN = H5Options(encoder="uni_v1", mpp=Mpp(0.25, 0.25))


@pytest.fixture(scope="module")
def tiled(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store at half the phantom's resolution, with made-up float16 features."""
    path = tmp_path_factory.mktemp("tiled") / "store"
    config = load_config(None, ["tile.size=64", "tile.mpp=1.0"]).tile
    run_tile(source_slides([phantom]), path, config)
    store = Store(path)
    features = random_features(len(store.slide("ph").patches), 7).astype("f2")
    write_features(store, "ph", ENCODER, features, {"recipe_id": "r"})
    return path


@pytest.fixture
def trident(tmp_path: Path) -> Path:
    """Three files of TRIDENT, 30 patches each."""
    folder = tmp_path / "features_uni_v1"
    for n in range(3):
        features = random_features(30, 8, n)
        coords = grid_coords(6, 5, 512)
        trident_features(folder / f"t{n}.h5", features, coords, size=(4000, 3000), encoder="uni_v1")
    return folder


def content(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, object]]:
    with h5py.File(path) as file:
        said = {k: str(v) for k, v in file["coords"].attrs.items()}
        return file["features"][:], file["coords"][:], said


def test_there_and_back_again(tiled: Path, tmp_path: Path) -> None:
    """mpp x differs from y, the slide is not square, patches are coarser than level 0."""
    assert run_export(tiled, tmp_path / "one").done == ["ph"]
    identity, outcome = run_ingest_h5(tmp_path / "one", tmp_path / "store")
    assert (identity, outcome.done, outcome.failed) == (ENCODER, ["ph"], {})
    assert run_export(tmp_path / "store", tmp_path / "two", ENCODER).done == ["ph"]
    for one, two in zip(
        content(tmp_path / "one/ph.h5"), content(tmp_path / "two/ph.h5"), strict=True
    ):
        np.testing.assert_equal(one, two)
    before, after = Store(tiled).slide("ph"), Store(tmp_path / "store").slide("ph")
    for name in ("x", "y", "row", "col"):
        np.testing.assert_array_equal(getattr(before.patches, name), getattr(after.patches, name))
    assert (before.grid, before.mpp_l0) == (after.grid, after.mpp_l0)
    assert after.mpp == pytest.approx(before.mpp)
    np.testing.assert_array_equal(before.features(ENCODER), after.features(ENCODER))


def test_features_as_stored(tiled: Path, tmp_path: Path) -> None:
    run_export(tiled, tmp_path, dtype="stored")
    with h5py.File(tmp_path / "ph.h5") as file:
        assert file["features"].dtype == np.float16
        np.testing.assert_array_equal(
            file["features"][:], Store(tiled).slide("ph").features(ENCODER)
        )


def test_a_file_names_its_encoder_and_no_folder_of_the_weights(tiled: Path, tmp_path: Path) -> None:
    """Name and digest are written, wherever the weights lie and however they are named."""
    store = shutil.copytree(tiled, tmp_path / "store")
    weights = weights_file(tmp_path / "home-of-jane" / "best.safetensors")
    options = {"encoder": f"file:{weights}"}
    identity, outcome = run_extract(store, ExtractConfig(**options), device="cpu")
    assert outcome.done == ["ph"]
    assert re.fullmatch(r"best-file-[0-9a-f]{8}", identity)
    assert run_export(store, tmp_path / "out", f"file:{weights}").done == ["ph"]
    with h5py.File(tmp_path / "out/ph.h5") as file:
        assert file["features"].attrs["encoder"] == identity
        assert json.loads(file.attrs["wsikit"])["encoder_id"] == identity
    again, outcome = run_ingest_h5(
        tmp_path / "out", tmp_path / "taken", H5Options(encoder=f"file:{weights}")
    )
    assert (again, outcome.done) == (identity, ["ph"])
    for folder in (store, tmp_path / "out", tmp_path / "taken"):
        assert [name for name, content in tree(folder).items() if b"jane" in content] == []


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("uni_v1", "uni_v1"),
        ("hf-hub:MahmoodLab/UNI@refs/pr/1", "hf-hub:MahmoodLab/UNI@refs/pr/1"),
        ("MahmoodLab/UNI", "MahmoodLab/UNI"),
        ("timm:vit_small.dino", "timm:vit_small.dino"),
        ("/home/jane/uni.bin", "uni"),
        ("~jane/uni.v2", "uni.v2"),
        ("jane/uni.pth", "uni"),
        ("../jane/uni", "uni"),
        ("C:\\Users\\jane\\uni.pt", "uni"),
        ("https://example.org/jane/uni", "uni"),
        ("file:jane/my.run", "my.run"),
        ("file:/disk/jane/my.run/encoder.safetensors", "my.run"),
    ],
)
def test_a_path_is_no_name_of_an_encoder(said: str, name: str) -> None:
    assert encoder_name(said) == name


@pytest.mark.parametrize("by", ["user", "file"])
def test_where_foreign_weights_lay_enters_no_store(tmp_path: Path, by: str) -> None:
    where = "C:/Users/jane/uni/weights.bin"
    coords = grid_coords(6, 5, 512)
    stated = where if by == "file" else None
    trident_features(
        tmp_path / "f/a.h5", random_features(30, 8), coords, size=(4000, 3000), encoder=stated
    )
    asked = where if by == "user" else None
    options = H5Options(encoder=asked, mpp=Mpp(0.25, 0.25))
    identity, outcome = run_ingest_h5(tmp_path / "f", tmp_path / "store", options)
    assert (identity, outcome.done) == ("weights-h5-8", ["a"])
    about = Store(tmp_path / "store").slide("a").derived_attributes(f"features/{identity}")
    assert about["encoder"] == "weights"
    assert run_export(tmp_path / "store", tmp_path / "out").done == ["a"]
    for folder in (tmp_path / "store", tmp_path / "out"):
        assert [name for name, content in tree(folder).items() if b"jane" in content] == []


def test_export_skips_what_is_there_and_keeps_what_is_not_its_own(
    tiled: Path, tmp_path: Path
) -> None:
    run_export(tiled, tmp_path)
    first = tree(tmp_path)
    assert run_export(tiled, tmp_path).skipped == ["ph"]
    assert tree(tmp_path) == first
    assert "something else" in run_export(tiled, tmp_path, layout="clam").failed["ph"]
    assert tree(tmp_path) == first
    assert run_export(tiled, tmp_path, layout="clam", overwrite=True).done == ["ph"]
    (tmp_path / "ph.h5").write_text("mine")
    assert "something else" in run_export(tiled, tmp_path).failed["ph"]
    assert (tmp_path / "ph.h5").read_text() == "mine"


def test_export_asks_which_encoder(tiled: Path, tmp_path: Path) -> None:
    shutil.copytree(tiled, tmp_path / "store")
    store = Store(tmp_path / "store")
    write_features(store, "ph", "other-1", random_features(len(store.slide("ph").patches), 3), {})
    with pytest.raises(UsageError, match=r"2 encoders .*name one: --encoder other-1"):
        run_export(store.path, tmp_path / "out")
    assert run_export(store.path, tmp_path / "out", "other").done == ["ph"]
    with pytest.raises(StoreError, match="no features by 'uni'"):
        run_export(store.path, tmp_path / "out", "uni")


def test_export_of_a_damaged_store_names_the_slide(tiled: Path, tmp_path: Path) -> None:
    shutil.copytree(tiled, tmp_path / "store")
    features = tmp_path / "store/slides/ph.zarr/features" / ENCODER
    for chunk in (features / "c").rglob("*"):
        if chunk.is_file():
            chunk.unlink()
    assert "cannot be read" in run_export(tmp_path / "store", tmp_path / "out").failed["ph"]
    assert not list((tmp_path / "out").iterdir())


def test_a_folder_of_trident(trident: Path, tmp_path: Path) -> None:
    identity, outcome = run_ingest_h5(trident, tmp_path / "store", H5Options(mpp=Mpp(0.25, 0.26)))
    assert (identity, outcome.done) == ("uni_v1-h5-8", ["t0", "t1", "t2"])
    slide = Store(tmp_path / "store").slide("t1")
    assert slide.grid.slide_px == (4000, 3000)
    assert slide.grid.side_l0() == (512, 512)
    assert slide.mpp_l0 == (0.25, 0.26)
    assert slide.mpp == (0.5, 0.52)
    np.testing.assert_array_equal(slide.features(identity), random_features(30, 8, 1))
    np.testing.assert_array_equal(slide.patches.xy_l0, grid_coords(6, 5, 512))
    np.testing.assert_array_equal(slide.patches.rowcol * 512, slide.patches.xy_l0[:, ::-1])


def test_a_folder_of_clam_with_a_raster_for_each_contour(tmp_path: Path) -> None:
    contours = [grid_coords(4, 3, 512, (37, 211)), grid_coords(3, 5, 512, (2901, 90))]
    coords = np.concatenate(contours)
    clam_features(tmp_path / "f/h5_files/a.h5", random_features(len(coords), 8), coords)
    clam_patches(tmp_path / "patches/a.h5", contours, 256, 1, (2.0, 2.0), (3000, 2000))
    options = H5Options("uni", Mpp(0.25, 0.25), coords=tmp_path / "patches", size_from_patches=True)
    _, outcome = run_ingest_h5(tmp_path / "f", tmp_path / "store", options)
    assert (outcome.done, outcome.failed) == (["a"], {})
    slide = Store(tmp_path / "store").slide("a")
    np.testing.assert_array_equal(slide.patches.xy_l0, coords)
    assert len(np.unique(slide.patches.rowcol, axis=0)) == len(coords)
    assert slide.grid.slide_px == tuple(coords.max(axis=0) + 512)
    run_export(tmp_path / "store", tmp_path / "out")
    _, out, said = content(tmp_path / "out/a.h5")
    np.testing.assert_array_equal(out, coords)
    assert (said["patch_level"], said["patch_size"]) == ("1", "256")
    assert "overlap" not in said


def test_readers_hold_and_pixels_are_refused(trident: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run_ingest_h5(trident, store, KNOWN)
    slide = Store(store).slide("t0")
    image = zarr.open_group(slide.path, mode="r")["0"]
    assert image.shape == (3, 1500, 2000)
    assert image.nchunks_initialized == 0
    assert (image[:, :300, :300] == 255).all()
    assert (slide.thumbnail() == 255).all()
    assert slide.decisions.counts()["kept"] == 30
    listed = list(list_patches(store, "t0").rows())
    assert sum(row[-1] == "kept" for row in listed) == 30
    assert {row[4:6] for row in listed} == {(None, None)}  # nobody measured foreground or entropy
    seen = inspect_path(store)["slides"]["t0"]
    assert (seen["pixels"], seen["foreground_mean"]) == (False, None)
    with pytest.raises(StoreError, match="ingested with features alone and has no pixels"):
        slide.read_patch(0)
    _, outcome = run_extract(store, ExtractConfig(weights="random"))
    assert set(outcome.failed) == {"t0", "t1", "t2"}
    assert "has no pixels" in outcome.failed["t0"]
    with pytest.raises(StoreError, match="make it with wsikit ingest"):
        slide.features("conch-h5-8")


def test_the_slides_own_files_tell_size_mpp_and_thumbnail(phantom: Path, tmp_path: Path) -> None:
    coords = grid_coords(5, 3, 512)
    clam_features(tmp_path / "f/ph.h5", random_features(15, 8), coords)
    options = H5Options("uni", slides=phantom.parent, patch_size_level0=512)
    _, outcome = run_ingest_h5(tmp_path / "f", tmp_path / "store", options)
    assert outcome.done == ["ph"], outcome.failed
    slide = Store(tmp_path / "store").slide("ph")
    assert slide.grid.slide_px == (2900, 1700)
    assert slide.mpp_l0 == pytest.approx((0.5, 0.49))
    assert slide.thumbnail().std() > 5
    trident_features(tmp_path / "g/ph.h5", random_features(15, 8), coords, size=(2900, 1600))
    _, outcome = run_ingest_h5(tmp_path / "g", tmp_path / "other", options)
    assert "made from a slide of 2900 x 1600 px, but ph.tiff" in outcome.failed["ph"]


def test_taken_once_and_whole(trident: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run_ingest_h5(trident, store, KNOWN)
    first = tree(store / "slides")
    assert run_ingest_h5(trident, store, KNOWN)[1].skipped == ["t0", "t1", "t2"]
    # As after a kill between the slide and its features, and one before the status.
    shutil.rmtree(store / "slides/t0.zarr/features/uni_v1-h5-8")
    (store / "status/t1.json").unlink()
    _, outcome = run_ingest_h5(trident, store, KNOWN)
    assert (sorted(outcome.done), outcome.skipped) == (["t0", "t1"], ["t2"])
    assert tree(store / "slides") == first
    assert not list((store / ".staging").iterdir())


def test_features_of_a_second_encoder_join_the_same_slides(trident: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run_ingest_h5(trident, store, KNOWN)
    for n in range(3):
        trident_features(
            tmp_path / f"conch/t{n}.h5", random_features(30, 5, 9), grid_coords(6, 5, 512),
            size=(4000, 3000),
        )  # fmt: skip
    options = H5Options("conch", Mpp(0.25, 0.25))
    identity, outcome = run_ingest_h5(tmp_path / "conch", store, options)
    assert (identity, len(outcome.done)) == ("conch-h5-5", 3)
    assert Store(store).slide("t0").encoder_ids() == ["conch-h5-5", "uni_v1-h5-8"]


def test_other_patches_or_features_need_overwrite(trident: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run_ingest_h5(trident, store, KNOWN)
    (trident / "t0.h5").unlink()
    trident_features(
        trident / "t0.h5", random_features(30, 8, 7), grid_coords(6, 5, 512), size=(4000, 3000)
    )
    (trident / "t1.h5").unlink()
    trident_features(
        trident / "t1.h5", random_features(24, 8, 7), grid_coords(6, 4, 512), size=(4000, 3000)
    )
    _, outcome = run_ingest_h5(trident, store, KNOWN)
    assert "holds other features by uni_v1-h5-8" in outcome.failed["t0"]
    assert "with other patches, size, mpp or slide file" in outcome.failed["t1"]
    _, outcome = run_ingest_h5(trident, store, KNOWN, overwrite=True)
    assert (len(outcome.done), outcome.failed) == (3, {})
    assert len(Store(store).slide("t1").patches) == 24


def test_overlapping_patches_keep_their_corners_and_share_cells(tmp_path: Path) -> None:
    coords = grid_coords(9, 7, 256)
    trident_features(tmp_path / "f/a.h5", random_features(63, 8), coords, size=(4000, 3000))
    _, outcome = run_ingest_h5(tmp_path / "f", tmp_path / "store", KNOWN)
    assert outcome.done == ["a"]
    patches = Store(tmp_path / "store").slide("a").patches
    np.testing.assert_array_equal(patches.xy_l0, coords)
    assert len(np.unique(patches.rowcol, axis=0)) == 5 * 4


def test_a_slide_without_patches_is_empty_and_not_failed(tmp_path: Path) -> None:
    trident_features(
        tmp_path / "f/a.h5", np.zeros((0, 8), "f4"), np.zeros((0, 2), np.int64), size=(400, 300)
    )
    identity, outcome = run_ingest_h5(tmp_path / "f", tmp_path / "store", KNOWN)
    assert (outcome.empty, outcome.failed) == (["a"], {})
    assert Store(tmp_path / "store").slide("a").features(identity).shape == (0, 8)


def test_one_bad_file_is_named_and_the_rest_is_taken(trident: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    data = (trident / "t0.h5").read_bytes()
    (trident / "cut.h5").write_bytes(data[: len(data) // 2])
    other = random_features(30, 5)
    trident_features(trident / "narrow.h5", other, grid_coords(6, 5, 512), size=(4000, 3000))
    features = random_features(30, 8)
    where = grid_coords(6, 5, 512)
    trident_features(trident / "conch.h5", features, where, size=(4000, 3000), encoder="conch_v1")
    trident_features(trident / "coarse.h5", features, where, size=(4000, 3000), target=10)
    trident_features(trident / "outside.h5", features, where, size=(2000, 3000))
    trident_features(trident / "sizeless.h5", features, where)
    trident_features(trident / "bad name!.h5", features, where, size=(4000, 3000))
    broken = features.copy()
    broken[3] = np.nan
    trident_features(trident / "nan.h5", broken, where, size=(4000, 3000))
    trident_features(
        trident / "huge.h5", features, where, size=(4000, 3000),
        level0_magnification=1e308, target_magnification=1e-300,
    )  # fmt: skip
    (trident / "gone.h5").symlink_to("an_unmounted_disk.h5")
    identity, outcome = run_ingest_h5(trident, store, KNOWN)
    assert sorted(outcome.done) == ["bad_name_", "t0", "t1", "t2"]
    said = {
        "cut": "cut.h5: cannot be read as HDF5, or is cut short",
        "narrow": "narrow.h5: its features are uni_v1-h5-5 (5 numbers a patch), those of most "
        "files uni_v1-h5-8",
        "conch": "conch.h5: says its features are by 'conch_v1', not 'uni_v1'",
        "coarse": "coarse.h5: its patches are others than the store's (magnification: 20.0 -> 10.0",
        "outside": "outside.h5: 10 patches begin outside the slide",
        "sizeless": "sizeless.h5: does not say how large the slide is",
        "huge": "huge.h5: patch_size_level0 is 512, but patch_size and the magnifications make it",
        "gone": "gone.h5: is no file, or a link that leads nowhere",
        "nan": "nan.h5: 1 patches have features that are not finite (row 3",
    }
    assert set(outcome.failed) == set(said)
    for slide_id, reason in said.items():
        assert outcome.failed[slide_id].startswith(reason)
        status = Store(store).status(slide_id)[f"ingest.{identity}"]
        assert (status.state, status.reason) == ("failed", outcome.failed[slide_id])


def test_a_magnification_is_no_resolution(trident: Path, tmp_path: Path) -> None:
    _, outcome = run_ingest_h5(trident, tmp_path / "store")
    assert "no micrometres per pixel (a magnification is none)" in outcome.failed["t0"]
    _, outcome = run_ingest_h5(trident, tmp_path / "store", H5Options(mpp=Mpp(400, 400)))
    assert "outside 0.05..50" in outcome.failed["t0"]


def test_a_cohort_csv_tells_the_mpp_of_slides_that_are_not_there(
    trident: Path, tmp_path: Path
) -> None:
    (tmp_path / "cohort.csv").write_text("slide,mpp\nt0.svs,0.25\nt1.svs,0.5 0.49\nt2.svs,\n")
    options = H5Options(slides=tmp_path / "cohort.csv")
    _, outcome = run_ingest_h5(trident, tmp_path / "store", options)
    assert outcome.done == ["t0", "t1"]
    assert "no micrometres per pixel" in outcome.failed["t2"]
    assert Store(tmp_path / "store").slide("t1").mpp_l0 == (0.5, 0.49)


def test_corners_of_another_patch_file(tmp_path: Path) -> None:
    coords = grid_coords(6, 5, 256)
    clam_features(tmp_path / "f/a.h5", random_features(30, 8), coords)
    clam_features(tmp_path / "f/b.h5", random_features(30, 8), coords)
    clam_patches(tmp_path / "p/a.h5", [coords[::-1]], 256, 0, (1.0, 1.0), (4000, 3000))
    options = H5Options("uni", Mpp(0.25, 0.25), coords=tmp_path / "p")
    _, outcome = run_ingest_h5(tmp_path / "f", tmp_path / "store", options)
    assert "its coordinates are not those of a.h5" in outcome.failed["a"]
    assert "has no patch file in p (b.h5 or b_patches.h5)" in outcome.failed["b"]


def test_calls_that_are_wrong(tiled: Path, trident: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds tiled slides: ingest into a store of its own"):
        run_ingest_h5(trident, tiled, KNOWN)
    with pytest.raises(UsageError, match="there is no such folder"):
        run_ingest_h5(tmp_path / "absent", tmp_path / "store")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(UsageError, match=r"holds no \.h5 files"):
        run_ingest_h5(tmp_path / "nothing", tmp_path / "store")
    with pytest.raises(UsageError, match="no file of slide 't9': use one of: t0"):
        run_ingest_h5(trident, tmp_path / "store", slide_ids=["t9"])
    clam_features(tmp_path / "f/a.h5", random_features(30, 8), grid_coords(6, 5, 256))
    with pytest.raises(UsageError, match="which encoder made its features: name it"):
        run_ingest_h5(tmp_path / "f", tmp_path / "store", H5Options(patch_size_level0=256))
    run_export(tiled, tmp_path / "own")
    _, outcome = run_ingest_h5(tmp_path / "own", tmp_path / "store", H5Options("uni"))
    assert f"says its features are by '{ENCODER}', not 'uni'" in outcome.failed["ph"]
    assert not (tmp_path / "store").exists()
