"""GeoJSON as programs write it, and as it arrives when something went wrong."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from wsikit.errors import SlideError
from wsikit.stages import area_file
from wsikit.stages.area_file import file_digest
from wsikit.stages.geojson_areas import read_geojson as read_areas

RING = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
HOLE = [[2, 2], [4, 2], [4, 4], [2, 4], [2, 2]]
POLYGON = {"type": "Polygon", "coordinates": [RING, HOLE]}
MULTI = {"type": "MultiPolygon", "coordinates": [[RING, HOLE], [[[20, 0], [25, 0], [20, 5]]]]}


def feature(geometry: Any, properties: Any = None) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def written(folder: Path, content: Any) -> Path:
    path = folder / "a.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    "content",
    [
        {"type": "FeatureCollection", "features": [feature(POLYGON)]},
        {"type": "FeatureCollection", "features": [POLYGON]},
        [feature(POLYGON)],
        [POLYGON],
        feature(POLYGON),
        POLYGON,
        {"type": "GeometryCollection", "geometries": [POLYGON]},
        feature({"type": "GeometryCollection", "geometries": [POLYGON]}),
    ],
)
def test_every_wrapping_gives_the_same_area(tmp_path: Path, content: Any) -> None:
    found = read_areas(written(tmp_path, content))
    assert [area.shape.area for area in found.areas] == [96]
    assert not found.passed_over


def test_parts_holes_and_heights_are_read(tmp_path: Path) -> None:
    high = {"type": "Polygon", "coordinates": [[[x, y, 7.5] for x, y in RING]]}
    found = read_areas(written(tmp_path, [MULTI, high]))
    assert [area.shape.area for area in found.areas] == [96, 12.5, 100]


@pytest.mark.parametrize(
    ("properties", "name"),
    [
        ({"classification": {"name": "Tumor", "colorRGB": -65536}}, "Tumor"),
        ({"classification": {"name": "Tumor: Positive"}}, "Tumor: Positive"),
        ({"classification": {"names": ["Tumor", "Positive"]}}, "Tumor: Positive"),
        ({"classification": " Tumor\n bed "}, "Tumor bed"),
        ({"name": "I", "color": [255, 0, 0]}, ""),  # an annotation's own name is no class
        ({"classification": {"name": 3}}, ""),
        ({"classification": None}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_the_class_is_read_by_each_spelling(tmp_path: Path, properties: Any, name: str) -> None:
    (area,) = read_areas(written(tmp_path, feature(POLYGON, properties))).areas
    assert area.name == name


def test_what_has_no_area_is_counted(tmp_path: Path) -> None:
    found = read_areas(
        written(
            tmp_path,
            [
                feature({"type": "Point", "coordinates": [1, 2]}),
                feature({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}),
                feature({"type": "Point", "coordinates": "anything"}),
                feature(None),
                {"type": "Polygon", "coordinates": []},
                {"type": "Polygon", "coordinates": [[[1, 1], [2, 2]]]},
                POLYGON,
            ],
        )
    )
    assert len(found.areas) == 1
    assert found.passed_over == {
        "Point": 2,
        "LineString": 1,
        "without geometry": 1,
        "empty polygon": 2,
    }


def test_tiles_and_cells_were_not_drawn(tmp_path: Path) -> None:
    kinds = ("tile", "cell", "tile", "annotation", "detection", 3)
    found = read_areas(written(tmp_path, [feature(POLYGON, {"objectType": k}) for k in kinds]))
    assert len(found.areas) == 3
    assert found.passed_over == {"tile": 2, "cell": 1}


@pytest.mark.parametrize(
    ("said", "offset"),
    [
        ({"offset_l0": [-100, 30]}, (-100, 30)),
        ({"offset_l0": [0.5, 0]}, (0.5, 0)),
        ({}, None),
        ({"offset_l0": [1]}, None),
        ({"offset_l0": ["1", "2"]}, None),
        ({"offset_l0": [True, False]}, None),
        ({"offset_l0": [1e300, 0]}, None),
        (7, None),
    ],
)
def test_a_file_may_say_by_how_much_it_was_moved(tmp_path: Path, said: Any, offset: Any) -> None:
    content = {"type": "FeatureCollection", "wsikit": said, "features": []}
    assert read_areas(written(tmp_path, content)).offset_l0 == offset


@pytest.mark.parametrize("content", [[], {"type": "FeatureCollection", "features": []}])
def test_an_empty_file_holds_nothing(tmp_path: Path, content: Any) -> None:
    assert read_areas(written(tmp_path, content)).areas == ()


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no valid JSON"),
        ("{", "no valid JSON"),
        (DEEP, "no valid JSON"),
        ("[" * 300 + "]" * 300, "feature 1 is not a GeoJSON feature"),
        ("\x00\x01binary", "no valid JSON"),
        ("3", "not GeoJSON"),
        ('"FeatureCollection"', "not GeoJSON"),
        ({}, "not GeoJSON"),
        ({"type": "FeatureCollection"}, "no list of features"),
        ({"type": "FeatureCollection", "features": {}}, "no list of features"),
        ([3], "feature 1 is not a GeoJSON feature"),
        ([POLYGON, {"type": "Feature", "geometry": 5}], "feature 2 has no geometry"),
        ([{"type": "FeatureCollection", "features": []}], "a collection inside another"),
        ({"type": "Polygon"}, "no list of coordinates"),
        ({"type": "Polygon", "coordinates": [5]}, "ring is no list of points"),
        ({"type": "Polygon", "coordinates": [[5]]}, "two numbers"),
        ({"type": "Polygon", "coordinates": [[[1], [2], [3]]]}, "two numbers"),
        ({"type": "Polygon", "coordinates": [[[1, 2], [3], [5, 6]]]}, "two numbers"),
        ({"type": "Polygon", "coordinates": [[["1", "2"], ["3", "4"], ["5", "6"]]]}, "two numbers"),
        ({"type": "Polygon", "coordinates": [[[True, False]] * 4]}, "two numbers"),
        ({"type": "Polygon", "coordinates": [[[None, 1], [2, 3], [4, 5]]]}, "two numbers"),
        ({"type": "Polygon", "coordinates": [[{"x": 1}]]}, "two numbers"),
        ({"type": "MultiPolygon", "coordinates": [5]}, "no list of rings"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1e300], [2, 0]]]}, "no number"),
        ('{"type":"Polygon","coordinates":[[[0,0],[NaN,1],[2,0]]]}', "no number"),
        ('{"type":"Polygon","coordinates":[[[0,0],[Infinity,1],[2,0]]]}', "no number"),
        ('{"type":"Polygon","coordinates":[[[0,0],[1e999,1],[2,0]]]}', "no number"),
        (f'{{"type":"Polygon","coordinates":[[[0,0],[1{"0" * 40},1],[2,0]]]}}', "two numbers"),
        (f'{{"type":"Polygon","coordinates":[[[0,0],[1{"0" * 5000},1],[2,0]]]}}', "no valid JSON"),
    ],
)
def test_a_bad_file_is_one_line_with_file_fault_and_fix(
    tmp_path: Path, content: Any, message: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(SlideError, match=message) as caught:
        read_areas(path)
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    assert caught.value.fix


def test_collections_in_collections_are_refused(tmp_path: Path) -> None:
    inner = {"type": "GeometryCollection", "geometries": [POLYGON]}
    with pytest.raises(SlideError, match="a collection inside another"):
        read_areas(written(tmp_path, {"type": "GeometryCollection", "geometries": [inner]}))


def test_a_missing_file_and_a_folder_say_so(tmp_path: Path) -> None:
    for path in (tmp_path / "none.geojson", tmp_path):
        with pytest.raises(SlideError, match="cannot be read"):
            read_areas(path)


def test_gzip_is_unpacked_and_has_the_digest_of_its_text(tmp_path: Path) -> None:
    plain = written(tmp_path, POLYGON)
    packed = tmp_path / "a.geojson.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert len(read_areas(packed).areas) == 1
    wanted = hashlib.sha256(plain.read_bytes()).hexdigest()
    assert {file_digest(plain), file_digest(packed), read_areas(packed).digest} == {wanted}


@pytest.mark.parametrize("cut", [3, 12, 40])
def test_a_truncated_gzip_is_one_line(tmp_path: Path, cut: int) -> None:
    packed = tmp_path / "a.gz"
    packed.write_bytes(gzip.compress(json.dumps(POLYGON).encode())[:cut])
    with pytest.raises(SlideError, match=r"a\.gz: "):
        read_areas(packed)


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(area_file, "MOST_BYTES", 1 << 20)
    packed = tmp_path / "a.gz"
    packed.write_bytes(gzip.compress(b" " * (5 << 20)))
    with pytest.raises(SlideError, match="more than 1 MB"):
        read_areas(packed)


def test_the_files_of_qupath_are_read(real_data: Path) -> None:
    folder = real_data / "annotations"
    found = read_areas(folder / "qupath05.geojson")
    assert found.areas
    for path in sorted((folder / "qupath_geojson").glob("*.json")):
        found = read_areas(path)
        is_area = path.stem not in ("qupath-line", "qupath-multipoint", "qupath-point",
                                    "qupath-polyline")  # fmt: skip
        assert (len(found.areas), sum(found.passed_over.values())) == (is_area, not is_area), path
    (rectangle,) = read_areas(folder / "qupath_geojson" / "qupath-rectangle.json").areas
    assert rectangle.shape.bounds == (26268, 15298, 26478, 15474)
    assert rectangle.shape.area == (26478 - 26268) * (15474 - 15298)


@pytest.mark.parametrize("name", ["qupath05.geojson", "qupath_geojson/qupath-wand.json"])
def test_a_damaged_copy_never_crashes(real_data: Path, tmp_path: Path, name: str) -> None:
    """Seeded bit flips and truncations: an answer, or one line."""
    source = (real_data / "annotations" / name).read_bytes()
    rng = random.Random(0)
    for _ in range(150):
        data = bytearray(source[: rng.randrange(1, len(source))] if rng.random() < 0.3 else source)
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path = tmp_path / "mutant.geojson"
        path.write_bytes(data)
        with contextlib.suppress(SlideError):
            read_areas(path)
