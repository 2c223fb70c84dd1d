"""Regions drawn by hand: which patches they let through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wsikit.config import load_config
from wsikit.errors import ConfigError, SlideError
from wsikit.geometry import PatchGrid
from wsikit.phantoms.truth import patch_truth
from wsikit.stages.cohort import source_slides
from wsikit.stages.drawn_areas import read_areas
from wsikit.stages.tiling.region_of_interest import (
    RegionRule,
    allowed_patches,
    check_region,
    region_digest,
)
from wsikit.stages.tiling.tile import run_tile
from wsikit.store.decisions import REASONS
from wsikit.store.store import Store
from wsikit.tissue.region_shares import region_shares
from wsikit.types import Size

GRID = PatchGrid(Size(400, 300), (1.0, 1.0), 100)  # 3 rows, 4 columns


def box(x0: float, y0: float, x1: float, y1: float, name: str | None = None) -> dict[str, Any]:
    ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": name}} if name else {},
    }


def write(path: Path, *features: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return path


def stays(rule: RegionRule, slide_id: str = "s") -> list[tuple[int, int]]:
    patches = allowed_patches(rule, slide_id, GRID).patches
    assert patches.shape == (3, 4)
    return [(int(r), int(c)) for r, c in np.argwhere(patches)]


ALL = [(r, c) for r in range(3) for c in range(4)]


def test_without_a_region_every_patch_may_stay() -> None:
    rule = RegionRule()
    assert not rule.active
    assert stays(rule) == ALL
    assert region_digest(rule, "s") == {"keep": None, "exclude": None}
    check_region(rule, ["a", "b"])


def test_a_patch_stays_with_at_least_the_least_share_inside(tmp_path: Path) -> None:
    """Columns 0 to 3 are inside by 1, 1, 0.5 and 0."""
    file = write(tmp_path / "k.geojson", box(0, 0, 250, 100))
    assert stays(RegionRule(keep=file)) == [(0, 0), (0, 1), (0, 2)]
    assert stays(RegionRule(keep=file, min_inside=0.51)) == [(0, 0), (0, 1)]
    assert stays(RegionRule(keep=file, min_inside=1.0)) == [(0, 0), (0, 1)]
    assert stays(RegionRule(keep=file, min_inside=0.0)) == [(0, 0), (0, 1), (0, 2)]


def test_a_patch_goes_with_more_than_the_largest_share_excluded(tmp_path: Path) -> None:
    file = write(tmp_path / "e.geojson", box(0, 0, 250, 300))
    right = [(r, c) for r, c in ALL if c >= 2]
    assert stays(RegionRule(exclude=file)) == right  # half is not more than half
    assert stays(RegionRule(exclude=file, max_excluded=0.49)) == [(r, c) for r, c in ALL if c == 3]
    assert stays(RegionRule(exclude=file, max_excluded=0.0)) == [(r, c) for r, c in ALL if c == 3]
    assert stays(RegionRule(exclude=file, max_excluded=1.0)) == ALL


def test_areas_that_overlap_count_once_and_excluding_goes_over_keeping(tmp_path: Path) -> None:
    keep = write(tmp_path / "k.geojson", box(0, 0, 40, 100), box(10, 0, 40, 100))
    assert stays(RegionRule(keep=keep)) == []
    keep = write(tmp_path / "k.geojson", box(0, 0, 400, 200))
    exclude = write(tmp_path / "e.geojson", box(0, 100, 400, 300))
    assert stays(RegionRule(keep=keep, exclude=exclude)) == [(0, c) for c in range(4)]


def test_classes_choose_areas(tmp_path: Path) -> None:
    file = write(
        tmp_path / "k.geojson",
        box(0, 0, 100, 100, "Tumor"),
        box(100, 0, 200, 100, "Tumor: Positive"),
        box(200, 0, 300, 100, "Tumorbed"),
        box(300, 0, 400, 100),
    )
    assert stays(RegionRule(keep=file, keep_classes=("tumor",))) == [(0, 0), (0, 1)]
    assert stays(RegionRule(keep=file, keep_classes=("Tumor: positive",))) == [(0, 1)]
    assert stays(RegionRule(keep=file, keep_classes=("Tumor", "Tumorbed"))) == ALL[:3]
    assert stays(RegionRule(keep=file)) == ALL[:4]
    assert stays(RegionRule(exclude=file, exclude_classes=("Tumorbed",))) == [
        place for place in ALL if place != (0, 2)
    ]


def test_a_class_that_is_not_there_is_said(tmp_path: Path) -> None:
    file = write(tmp_path / "k.geojson", box(0, 0, 100, 100, "Tumor"), box(0, 0, 9, 9, "Stroma"))
    found = allowed_patches(RegionRule(keep=file, keep_classes=("Tumour",)), "s", GRID)
    assert not found.patches.any()
    assert found.notes == (f"{file}: no area of class Tumour; it has Stroma, Tumor",)


def test_an_offset_moves_the_areas(tmp_path: Path) -> None:
    file = write(tmp_path / "k.geojson", box(-300, -200, -200, -100))
    assert stays(RegionRule(keep=file, offset_l0=(500.0, 300.0))) == [(1, 2)]


def test_a_folder_holds_one_file_a_slide(tmp_path: Path) -> None:
    write(tmp_path / "a.geojson", box(0, 0, 100, 100))
    write(tmp_path / "b.json", box(100, 0, 200, 100))
    check_region(RegionRule(keep=tmp_path), ["a", "b"])
    assert stays(RegionRule(keep=tmp_path), "a") == [(0, 0)]
    assert stays(RegionRule(keep=tmp_path), "b") == [(0, 1)]


def test_a_slide_without_a_file_to_keep_by_names_it(tmp_path: Path) -> None:
    rule = RegionRule(keep=tmp_path)
    for step in (lambda: stays(rule, "c"), lambda: region_digest(rule, "c")):
        with pytest.raises(SlideError, match=r"c\.geojson: no such file, so no area to keep"):
            step()


def test_a_slide_without_a_file_to_exclude_by_is_whole_and_says_so(tmp_path: Path) -> None:
    found = allowed_patches(RegionRule(exclude=tmp_path), "c", GRID)
    assert found.patches.all()
    assert found.notes == (f"{tmp_path} has no file for slide 'c': nothing is excluded",)


def test_an_empty_file_keeps_nothing_and_excludes_nothing(tmp_path: Path) -> None:
    file = write(tmp_path / "s.geojson")
    kept = allowed_patches(RegionRule(keep=file), "s", GRID)
    assert (kept.patches.any(), kept.notes) == (False, (f"{file}: holds no area",))
    assert allowed_patches(RegionRule(exclude=file), "s", GRID).patches.all()


def test_a_file_of_points_is_refused(tmp_path: Path) -> None:
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}}
    file = write(tmp_path / "s.geojson", point, point)
    with pytest.raises(SlideError, match=r"holds no area \(2 Point\): draw"):
        stays(RegionRule(exclude=file))
    file = write(tmp_path / "s.geojson", point, box(0, 0, 400, 300))
    found = allowed_patches(RegionRule(keep=file), "s", GRID)
    assert found.patches.all()
    assert found.notes == (f"{file}: passed over what has no area (1 Point)",)


def test_areas_of_another_slide_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "s.geojson", box(400, 0, 900, 300))
    with pytest.raises(SlideError, match=r"x 400 to 900, y 0 to 300\) lie beside the slide"):
        stays(RegionRule(keep=file))


def test_a_call_that_cannot_be_meant_is_refused_early(tmp_path: Path) -> None:
    file = write(tmp_path / "s.geojson", box(0, 0, 9, 9))
    check_region(RegionRule(keep=file), ["one"])
    with pytest.raises(ConfigError, match=r"tile\.roi\.keep: one file, .* for 2 slides"):
        check_region(RegionRule(keep=file), ["a", "b"])
    with pytest.raises(ConfigError, match=r"tile\.roi\.exclude: .*none is not there"):
        check_region(RegionRule(exclude=tmp_path / "none"), ["a"])


def test_the_digest_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    first = region_digest(RegionRule(keep=write(tmp_path / "a.geojson", box(0, 0, 9, 9))), "a")
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder / "a.json", box(0, 0, 9, 9))
    assert region_digest(RegionRule(keep=folder), "a") == first
    write(folder / "a.json", box(0, 0, 9, 10))
    assert region_digest(RegionRule(keep=folder), "a") != first
    assert region_digest(RegionRule(exclude=folder), "a")["keep"] is None


@pytest.mark.parametrize("name", ["8863", "8864", "8865", "8913"])
@pytest.mark.parametrize("patch_px", [50, 77, 512])
def test_real_annotations_agree_with_their_mask(real_data: Path, name: str, patch_px: int) -> None:
    """The same truth twice: polygons here, a picture summed by another function there."""
    folder = real_data / "idc"
    with Image.open(folder / f"{name}_mask.png") as picture:
        mask = np.asarray(picture.convert("L")) > 127
    grid = PatchGrid(Size(mask.shape[1], mask.shape[0]), (1.0, 1.0), patch_px)
    areas = read_areas(folder / f"{name}.geojson").areas
    shares = region_shares([area.shape for area in areas], grid)
    left, top = np.meshgrid(np.arange(grid.cols) * patch_px, np.arange(grid.rows) * patch_px)
    width = np.minimum(patch_px, grid.slide_px.width - left)
    height = np.minimum(patch_px, grid.slide_px.height - top)
    truth = patch_truth(mask, 1, left, top, width, height)
    np.testing.assert_allclose(shares, truth, atol=1e-9)
    assert (name == "8913") == (not shares.any())
    rule = RegionRule(keep=folder, keep_classes=("Tumor",))
    np.testing.assert_array_equal(allowed_patches(rule, name, grid).patches, truth >= 0.5 - 1e-9)


def test_tiling_keeps_what_the_region_leaves_of_what_the_filters_keep(
    phantom: Path, tmp_path: Path
) -> None:
    """And a region that changed is noticed, by content, not by name."""
    settings = ["tile.size=128", "tile.mpp=native"]
    keep, exclude = tmp_path / "k", write(tmp_path / "e.geojson", box(1100, 500, 1400, 900))
    keep.mkdir()
    write(keep / "ph.geojson", box(300, 100, 2000, 1500, "Tumor"))
    roi = [f"tile.roi.keep={keep}", f"tile.roi.exclude={exclude}"]
    sources = source_slides([phantom])

    def index(name: str, sets: list[str]) -> set[tuple[int, int]]:
        run_tile(sources, tmp_path / name, load_config(None, sets).tile)
        return set(map(tuple, Store(tmp_path / name).slide("ph").patches.rowcol.tolist()))

    everything, chosen = index("all", settings), index("roi", settings + roi)
    stored = Store(tmp_path / "roi").slide("ph")
    allowed = allowed_patches(RegionRule(keep=keep, exclude=exclude), "ph", stored.grid).patches
    assert chosen == {place for place in everything if allowed[place]}
    assert 0 < len(chosen) < len(everything)
    region = stored.decisions.reason == REASONS.index("region")
    assert region.any()
    assert not (region & allowed).any()

    tile = load_config(None, settings + roi).tile
    assert run_tile(sources, tmp_path / "roi", tile).skipped == ["ph"]
    write(keep / "ph.geojson", box(300, 100, 2000, 1400, "Tumor"))
    assert "changed since it was tiled" in run_tile(sources, tmp_path / "roi", tile).failed["ph"]
