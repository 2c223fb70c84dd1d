"""Tiling against an independent reader and a filter written out in plain numpy."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import openslide
import pytest

from wsikit.config import TileConfig, load_config
from wsikit.errors import StoreError
from wsikit.execution.pool import open_pool
from wsikit.stages.cohort import SourceSlide, source_slides
from wsikit.stages.tiling.tile import run_tile
from wsikit.store.store import Store
from wsikit.types import Mpp


def config(*sets: str) -> TileConfig:
    return load_config(None, [f"tile.{s}" for s in sets]).tile


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def whole(path: Path) -> np.ndarray:
    """Level 0 through OpenSlide, which `wsikit tile` does not use for this file."""
    with openslide.OpenSlide(str(path)) as slide:
        return np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))


def plain_filter(image: np.ndarray, size: int, window: int) -> dict[tuple[int, int], float]:
    """The RGB rule by a box sum over rows, then columns: patch -> foreground share."""
    height, width = image.shape[:2]
    rows, cols = -(-height // size), -(-width // size)
    tissue = np.zeros((rows * size, cols * size), bool)
    tissue[:height, :width] = (image <= 200).any(axis=2)
    kernel = np.ones(window)
    box = tissue.astype(float)
    for axis in (0, 1):
        box = np.apply_along_axis(
            lambda line: np.convolve(line, kernel)[window // 2 - 1 :][: len(line)], axis, box
        )
    foreground = tissue & (np.round(box) > round(0.1 * window * window))
    return {
        (r, c): foreground[r * size : (r + 1) * size, c * size : (c + 1) * size].mean()
        for r in range(rows)
        for c in range(cols)
    }


@pytest.mark.parametrize("name", ["slides/cmu-1-small-region.svs", "idc/8865.tif"])
def test_real_tissue_is_kept_and_glass_dropped(real_data: Path, tmp_path: Path, name: str) -> None:
    path = real_data / name
    outcome = run_tile(
        source_slides([path]),
        tmp_path / "s",
        config("mpp=native", "size=256", "codec.name=zstd", "filters=[rgb]", "min_foreground=0.25"),
    )
    assert outcome.done == [path.stem]
    index = Store(tmp_path / "s").slide(path.stem).patches
    shares = plain_filter(whole(path), 256, 200)
    wanted = {place for place, share in shares.items() if share >= 0.25}
    kept = set(zip(index.row.tolist(), index.col.tolist(), strict=True))
    assert kept == wanted
    assert 0.1 * len(shares) < len(kept) < 0.8 * len(shares)
    for i, place in enumerate(zip(index.row.tolist(), index.col.tolist(), strict=True)):
        assert index.foreground[i] == pytest.approx(shares[place], abs=1e-6)


def test_without_normalisation_the_store_holds_the_slides_own_pixels(
    real_data: Path, tmp_path: Path
) -> None:
    path = real_data / "slides" / "cmu-1-small-region.svs"
    settings = config("size=256", "stain.method=none", "codec.name=zstd")
    run_tile(source_slides([path]), tmp_path / "s", settings)
    slide = Store(tmp_path / "s").slide(path.stem)
    assert slide.mpp == Mpp(0.499, 0.499)  # within 2 % of 0.5: unresampled, the true value kept
    image = whole(path)
    for i in range(len(slide.patches)):
        x, y = slide.patches.x[i], slide.patches.y[i]
        inside = image[y : y + 256, x : x + 256]
        got = slide.read_patch(i)
        np.testing.assert_array_equal(got[: inside.shape[0], : inside.shape[1]], inside)


def test_workers_change_no_byte(phantom: Path, tmp_path: Path) -> None:
    settings = config("size=64")
    run_tile(source_slides([phantom]), tmp_path / "one", settings)
    with open_pool(2) as pool:
        run_tile(source_slides([phantom]), tmp_path / "two", settings, pool=pool)
    one, two = tree(tmp_path / "one" / "slides"), tree(tmp_path / "two" / "slides")
    assert one == two
    assert (
        len([name for name in one if "/0/c/" in name]) > 1
    )  # several shards, so the test can fail


def test_stain_normalisation_brings_scanners_together(tmp_path: Path) -> None:
    """Three scanners' phantoms differ less after matching than before."""
    from wsikit.phantoms.scanners import SCANNERS
    from wsikit.phantoms.slide import write_phantom
    from wsikit.phantoms.spec import PhantomSpec
    from wsikit.types import Size

    for name in sorted(SCANNERS)[:3]:
        spec = PhantomSpec(name, Size(1500, 1100), Mpp(0.5, 0.5), 3, False, name, patient_id="p")
        write_phantom(spec, tmp_path / f"{name}.tiff")

    def spread(method: str) -> float:
        store = tmp_path / method
        settings = config(f"stain.method={method}", "size=128", "codec.name=zstd")
        run_tile(source_slides(sorted(tmp_path.glob("*.tiff"))), store, settings)
        means = []
        for slide_id in Store(store).slide_ids():
            slide = Store(store).slide(slide_id)
            pixels = np.concatenate([slide.read_patch(i) for i in range(len(slide.patches))])
            means.append(pixels[(pixels <= 200).any(axis=2)].mean(axis=0))
        return float(np.std(means, axis=0).mean())

    assert spread("histogram") < 0.5 * spread("none")


def test_a_bad_slide_is_recorded_and_the_rest_go_on(
    real_data: Path, phantom: Path, tmp_path: Path
) -> None:
    bad = sorted((real_data / "broken").iterdir())
    outcome = run_tile(source_slides([*bad, phantom]), tmp_path / "s", config("size=128"))
    assert outcome.done == ["ph"]
    assert sorted(outcome.failed) == sorted(path.stem for path in bad)
    store = Store(tmp_path / "s")
    assert store.slide_ids() == ["ph"]
    assert not list((store.path / ".staging").glob("*.zarr"))
    for path in bad:
        status = store.status(path.stem)["tile"]
        assert status.state == "failed"
        assert path.name in status.reason
        assert "\n" not in status.reason


def test_a_finished_slide_is_skipped_and_nothing_is_touched(phantom: Path, tmp_path: Path) -> None:
    sources = source_slides([phantom])
    run_tile(sources, tmp_path / "s", config("size=128"))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "s").rglob("*") if p.name != ".lock"}
    outcome = run_tile(sources, tmp_path / "s", config("size=128"))
    assert (outcome.skipped, outcome.done) == (["ph"], [])
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "s").rglob("*") if p.name != ".lock"}
    assert after == before


def test_a_touched_but_equal_file_is_not_done_again(phantom: Path, tmp_path: Path) -> None:
    copy = tmp_path / "ph.tiff"
    shutil.copyfile(phantom, copy)
    run_tile(source_slides([copy]), tmp_path / "s", config("size=128"))
    before = tree(tmp_path / "s" / "slides")
    copy.touch()
    outcome = run_tile(source_slides([copy]), tmp_path / "s", config("size=128"))
    assert outcome.failed == {}
    assert tree(tmp_path / "s" / "slides") == before


def test_a_changed_file_is_noticed_and_redone_only_if_asked(phantom: Path, tmp_path: Path) -> None:
    copy = tmp_path / "ph.tiff"
    shutil.copyfile(phantom, copy)
    run_tile(source_slides([copy]), tmp_path / "s", config("size=128"))
    first = Store(tmp_path / "s").slide("ph").recipe_id
    with copy.open("ab") as file:
        file.write(b"\0\0")
    outcome = run_tile(source_slides([copy]), tmp_path / "s", config("size=128"))
    assert "changed since it was tiled" in outcome.failed["ph"]
    assert Store(tmp_path / "s").slide("ph").recipe_id == first
    run_tile(source_slides([copy]), tmp_path / "s", config("size=128"), overwrite=True)
    assert Store(tmp_path / "s").slide("ph").recipe_id != first


def test_another_recipe_needs_another_store_or_overwrite(phantom: Path, tmp_path: Path) -> None:
    sources = source_slides([phantom])
    run_tile(sources, tmp_path / "s", config("size=128"))
    with pytest.raises(StoreError, match="size: 128 -> 256"):
        run_tile(sources, tmp_path / "s", config("size=256"))
    assert Store(tmp_path / "s").slide("ph").grid.patch_px == 128
    other = [SourceSlide("other", phantom)]
    with pytest.raises(StoreError, match=r"1 slides of another recipe would be left \(ph\)"):
        run_tile(other, tmp_path / "s", config("size=256"), overwrite=True)
    run_tile(sources, tmp_path / "s", config("size=256"), overwrite=True)
    assert Store(tmp_path / "s").slide("ph").grid.patch_px == 256


def test_a_slide_that_went_away_fails_alone(phantom: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        shutil.copyfile(phantom, tmp_path / f"{name}.tiff")
    cohort = tmp_path / "cohort.csv"
    cohort.write_text("slide\na.tiff\nb.tiff\nc.tiff\n")
    run_tile(source_slides([cohort]), tmp_path / "s", config("size=256"))
    (tmp_path / "b.tiff").unlink()
    outcome = run_tile(source_slides([cohort]), tmp_path / "s", config("size=256"))
    assert (outcome.skipped, list(outcome.failed)) == (["a", "c"], ["b"])
    assert "b.tiff" in outcome.failed["b"]


def test_a_damaged_stored_slide_is_noticed_and_repaired_on_demand(
    phantom: Path, tmp_path: Path
) -> None:
    sources = source_slides([phantom])
    run_tile(sources, tmp_path / "s", config("size=128"))
    whole = tree(tmp_path / "s" / "slides")
    (tmp_path / "s" / "slides" / "ph.zarr" / "zarr.json").unlink()
    outcome = run_tile(sources, tmp_path / "s", config("size=128"))
    assert "cannot be read" in outcome.failed["ph"]
    assert run_tile(sources, tmp_path / "s", config("size=128"), overwrite=True).done == ["ph"]
    assert tree(tmp_path / "s" / "slides") == whole


def test_a_name_that_cannot_be_an_id_is_made_one(phantom: Path, tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    shutil.copyfile(phantom, folder / "-Fall 1 ä.tiff")
    outcome = run_tile(source_slides([folder]), tmp_path / "s", config("size=256"))
    assert outcome.done == ["Fall_1__"]


def test_glass_alone_is_empty_and_not_a_failure(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (700, 500), (244, 243, 245)).save(tmp_path / "glass.png")
    sources = source_slides([tmp_path / "glass.png"], Mpp(0.5, 0.5))
    outcome = run_tile(sources, tmp_path / "s", config("size=128"))
    assert outcome.empty == ["glass"]
    assert Store(tmp_path / "s").status("glass")["tile"].state == "empty"
    again = run_tile(sources, tmp_path / "s", config("size=128"))
    assert again.skipped == ["glass"]


def test_what_overhangs_the_slide_is_no_tissue(tmp_path: Path) -> None:
    """A picture that is tissue throughout: edge patches count only what lies inside."""
    from PIL import Image

    rng = np.random.default_rng(0)
    pixels = rng.integers(60, 180, (300, 420, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "full.png")
    settings = config("size=256", "filters=[rgb]", "rgb.window=1", "min_foreground=0.1")
    run_tile(source_slides([tmp_path / "full.png"], Mpp(0.5, 0.5)), tmp_path / "s", settings)
    index = Store(tmp_path / "s").slide("full").patches
    found = dict(
        zip(zip(index.row.tolist(), index.col.tolist(), strict=True), index.foreground, strict=True)
    )
    inside = {(0, 0): 1.0, (0, 1): 164 / 256, (1, 0): 44 / 256, (1, 1): 164 * 44 / 65536}
    assert set(found) == {place for place, share in inside.items() if share >= 0.1}
    for place, share in found.items():
        assert share == pytest.approx(inside[place], abs=1e-6)


def test_no_patient_data_reaches_the_store(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "slides" / "cmu-1-small-region.svs"
    run_tile(source_slides([path]), tmp_path / "s", config("size=256"))
    secrets = (
        b"ScanScope",
        b"b414003d",
        b"12/29/09",
        b"ImageID",
        b"1004486",
        bytes(str(real_data), "utf8"),
    )
    for name, data in tree(tmp_path / "s").items():
        for secret in secrets:
            assert secret not in data, (name, secret)


def test_a_slide_without_resolution_names_flag_and_column(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (300, 300), (120, 60, 120)).save(tmp_path / "scan.png")
    outcome = run_tile(source_slides([tmp_path / "scan.png"]), tmp_path / "s", config("size=128"))
    assert "--mpp" in outcome.failed["scan"]
    assert "'mpp' column" in outcome.failed["scan"]


def test_a_slide_coarser_than_wanted_is_refused(real_data: Path, tmp_path: Path) -> None:
    outcome = run_tile(source_slides([real_data / "idc" / "8863.tif"]), tmp_path / "s", config())
    assert "coarser than the wanted 0.5" in outcome.failed["8863"]
