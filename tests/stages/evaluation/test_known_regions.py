"""Masks and drawn areas over patches: shares, lesions, and what a file may not be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wsikit.errors import SlideError, StoreError
from wsikit.geometry import PatchGrid
from wsikit.stages.evaluation.known_regions import Patches, known_regions, region_file
from wsikit.types import Size

GRID = PatchGrid(Size(380, 290), (1.0, 1.0), 100)  # 3 rows, 4 columns; the last ones overhang
CORNERS = np.array([(c * 100, r * 100) for r in range(3) for c in range(4)])
PATCHES = Patches(CORNERS, Size(100, 100), GRID)


def ring(x0: float, y0: float, x1: float, y1: float) -> list[list[float]]:
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]


def area(*rings: list[list[float]], name: str = "") -> dict[str, Any]:
    properties = {"classification": {"name": name}} if name else {}
    geometry = {"type": "Polygon", "coordinates": list(rings)}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def drawn(folder: Path, *features: dict[str, Any]) -> Path:
    path = folder / "s.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return path


def mask(folder: Path, *boxes: tuple[int, int, int, int], scale: int = 1) -> Path:
    image = np.zeros((GRID.slide_px.height // scale, GRID.slide_px.width // scale), np.uint8)
    for x0, y0, x1, y1 in boxes:
        image[y0 // scale : y1 // scale, x0 // scale : x1 // scale] = 255
    Image.fromarray(image).save(folder / "s_mask.png")
    return folder / "s_mask.png"


def over(patches: np.ndarray) -> set[tuple[int, int]]:
    return {(int(r), int(c)) for r, c in PATCHES.rowcol[patches]}


def test_places_and_overhang() -> None:
    assert PATCHES.rowcol[5].tolist() == [1, 1]
    on_slide = PATCHES.on_slide.reshape(3, 4)
    np.testing.assert_allclose(on_slide[0], [1, 1, 1, 0.8])
    np.testing.assert_allclose(on_slide[2], [0.9, 0.9, 0.9, 0.72])


@pytest.mark.parametrize("scale", [1, 10])
def test_a_mask_and_its_outlines_say_the_same(tmp_path: Path, scale: int) -> None:
    boxes = [(50, 0, 150, 100), (250, 150, 380, 290)]
    by_mask = known_regions(mask(tmp_path, *boxes, scale=scale), PATCHES)
    by_areas = known_regions(drawn(tmp_path, *(area(ring(*box)) for box in boxes)), PATCHES)
    expected = np.array([[0.5, 0.5, 0, 0], [0, 0, 0.25, 0.5], [0, 0, 0.5, 1]])
    for found in (by_mask, by_areas):
        np.testing.assert_allclose(found.share.reshape(3, 4), expected, atol=1e-9)
        assert [over(lesion) for lesion in found.lesions] == [
            {(0, 0), (0, 1)}, {(1, 2), (1, 3), (2, 2), (2, 3)},
        ]  # fmt: skip


def test_touching_areas_are_one_lesion_and_holes_are_outside(tmp_path: Path) -> None:
    whole = area(ring(0, 0, 200, 200), ring(100, 100, 200, 200))
    beside = area(ring(200, 0, 250, 50))
    apart = area(ring(310, 210, 330, 230))
    found = known_regions(drawn(tmp_path, whole, beside, apart), PATCHES)
    assert len(found.lesions) == 2
    assert found.share.reshape(3, 4)[1].tolist() == pytest.approx([1, 0, 0, 0])
    sizes = sorted(int(lesion.sum()) for lesion in found.lesions)
    assert sizes == [1, 4]  # three of the ring, one beside; a touched border counts for nothing


def test_white_pixels_that_touch_at_a_corner_are_one_lesion(tmp_path: Path) -> None:
    found = known_regions(mask(tmp_path, (0, 0, 50, 50), (50, 50, 60, 60)), PATCHES)
    assert len(found.lesions) == 1
    found = known_regions(mask(tmp_path, (0, 0, 50, 50), (52, 52, 60, 60)), PATCHES)
    assert [over(lesion) for lesion in found.lesions] == [{(0, 0)}, {(0, 0)}]


def test_a_lesion_off_every_patch_is_still_a_lesion(tmp_path: Path) -> None:
    few = Patches(CORNERS[:2], Size(100, 100), GRID)
    for file in (
        mask(tmp_path, (300, 200, 350, 250)),
        drawn(tmp_path, area(ring(300, 200, 350, 250))),
    ):
        found = known_regions(file, few)
        assert found.share.tolist() == [0, 0]
        assert [lesion.tolist() for lesion in found.lesions] == [[False, False]]


def test_classes_are_chosen_by_name(tmp_path: Path) -> None:
    file = drawn(
        tmp_path,
        area(ring(0, 0, 100, 100), name="Tumor: Positive"),
        area(ring(100, 0, 200, 100), name="Stroma"),
    )
    with pytest.raises(
        StoreError, match=r"several classes \('Stroma', 'Tumor: Positive'\).*--region"
    ):
        known_regions(file, PATCHES)
    assert over(known_regions(file, PATCHES, ["tumor"]).share > 0) == {(0, 0)}
    assert known_regions(file, PATCHES, ["Necrosis"]).lesions == ()


def test_an_empty_file_has_no_region(tmp_path: Path) -> None:
    for file in (drawn(tmp_path), mask(tmp_path)):
        found = known_regions(file, PATCHES)
        assert not found.share.any()
        assert found.lesions == ()


def test_which_file_is_read(tmp_path: Path) -> None:
    assert region_file(tmp_path, "s") is None
    file = drawn(tmp_path, area(ring(0, 0, 9, 9)))
    assert region_file(tmp_path, "s") == file
    assert region_file(tmp_path, "s") != mask(tmp_path)
    assert region_file(tmp_path, "s").name == "s_mask.png"


ASAP = (
    '<ASAP_Annotations><Annotations><Annotation Type="Polygon" PartOfGroup="None"><Coordinates>'
    '<Coordinate Order="0" X="0" Y="0"/><Coordinate Order="1" X="150" Y="0"/>'
    '<Coordinate Order="2" X="150" Y="100"/><Coordinate Order="3" X="0" Y="100"/>'
    "</Coordinates></Annotation></Annotations></ASAP_Annotations>"
)


def test_asap_says_the_same_and_is_never_moved(tmp_path: Path) -> None:
    (tmp_path / "s.xml").write_text(ASAP)
    file = region_file(tmp_path, "s")
    assert file == tmp_path / "s.xml"
    expected = known_regions(drawn(tmp_path, area(ring(0, 0, 150, 100))), PATCHES)
    for corner in ((0, 0), (100, 100)):
        found = known_regions(file, PATCHES, corner=corner)
        np.testing.assert_array_equal(found.share, expected.share)
        assert [over(lesion) for lesion in found.lesions] == [{(0, 0), (0, 1)}]


def test_drawn_areas_are_moved_by_the_viewers_corner(tmp_path: Path) -> None:
    file = drawn(tmp_path, area(ring(0, 0, 100, 100)))
    found = known_regions(file, PATCHES, corner=(200, 100))
    assert over(found.share > 0) == {(1, 2)}


def test_a_file_of_points_alone_was_not_meant(tmp_path: Path) -> None:
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}}
    with pytest.raises(SlideError, match=r"holds no area \(1 Point\)"):
        known_regions(drawn(tmp_path, point), PATCHES)


def test_bad_files_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SlideError, match="beside the slide"):
        known_regions(drawn(tmp_path, area(ring(500, 500, 600, 600))), PATCHES)
    (tmp_path / "s.geojson").write_text("{")
    with pytest.raises(SlideError, match="not GeoJSON"):
        known_regions(tmp_path / "s.geojson", PATCHES)
    (tmp_path / "s_mask.png").write_bytes(b"no picture")
    with pytest.raises(StoreError, match="no readable mask"):
        known_regions(tmp_path / "s_mask.png", PATCHES)
    file = mask(tmp_path, (0, 0, 9, 9))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(StoreError, match="no readable mask"):
        known_regions(file, PATCHES)
