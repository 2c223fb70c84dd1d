from __future__ import annotations

import json
import time
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import shapely
from shapely.geometry import box, shape

from wsikit.errors import UsageError
from wsikit.heatmap import geojson_patches
from wsikit.heatmap.geojson import write_geojson
from wsikit.heatmap.geojson_classes import score_bands
from wsikit.heatmap.scores import PatchScores
from wsikit.types import ScoreKind, Size

POSITION = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 3}
COLOUR = {
    "type": "array",
    "items": {"type": "integer", "minimum": 0, "maximum": 255},
    "minItems": 3,
    "maxItems": 3,
}
FEATURE = {
    "type": "object",
    "required": ["type", "geometry", "properties"],
    "properties": {
        "type": {"const": "Feature"},
        "id": {"type": ["string", "number"]},
        "geometry": {
            "type": "object",
            "required": ["type", "coordinates"],
            "properties": {"type": {"type": "string"}, "coordinates": {"type": "array"}},
            "if": {"properties": {"type": {"const": "Polygon"}}},
            "then": {
                "properties": {
                    "coordinates": {
                        "minItems": 1,
                        "items": {"type": "array", "items": POSITION, "minItems": 4},
                    }
                }
            },
        },
        "properties": {
            "type": ["object", "null"],
            "properties": {
                "objectType": {"enum": ["annotation", "detection", "tile", "cell", "tmaCore"]},
                "name": {"type": "string"},
                "color": COLOUR,
                "classification": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"type": "string", "minLength": 1}, "color": COLOUR},
                },
                # An object since QuPath 0.4, a list of name and value before.
                "measurements": {
                    "type": ["object", "array"],
                    "additionalProperties": {"type": "number"},
                },
            },
        },
    },
}
COLLECTION = {
    "type": "object",
    "required": ["type", "features"],
    "properties": {
        "type": {"const": "FeatureCollection"},
        "features": {"type": "array", "items": FEATURE},
    },
    # RFC 7946, 7.1: members that would make it another GeoJSON object are forbidden.
    "not": {
        "anyOf": [
            {"required": [k]} for k in ("coordinates", "geometries", "geometry", "properties")
        ]
    },
}


def some_scores(
    count: int = 50, kind: ScoreKind = "probability", meaning: str = "probability of tumour"
) -> PatchScores:
    rng = np.random.default_rng(0)
    cells = np.arange(count)
    xy = np.stack([cells % 300 * 448, cells // 300 * 512], 1).astype(np.int32)
    return PatchScores(xy, Size(448, 512), rng.random(count).astype(np.float32), meaning, kind)


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON number")


def written(path: Path, scores: PatchScores, **more) -> dict:
    write_geojson(path, scores, name="tumour", **more)
    return json.loads(path.read_text("utf-8"), parse_constant=refuse)


def test_the_schema_accepts_what_qupath_writes(real_data: Path):
    folder = real_data / "annotations"
    jsonschema.validate(json.loads((folder / "qupath05.geojson").read_text()), COLLECTION)
    samples = sorted((folder / "qupath_geojson").glob("*.json"))
    assert samples
    for sample in samples:
        jsonschema.validate(json.loads(sample.read_text()), FEATURE)


@pytest.mark.parametrize("kind", ["probability", "attention"])
def test_it_is_geojson_as_qupath_reads_it(tmp_path: Path, kind: ScoreKind):
    scores = some_scores(kind=kind)
    document = written(tmp_path / "a.geojson", scores)
    jsonschema.validate(document, COLLECTION)
    assert len(document["features"]) == 50
    legend = {entry["name"]: entry["color"] for entry in document["wsikit"]["classes"]}
    for feature in document["features"]:
        properties = feature["properties"]
        assert properties["objectType"] == "tile"
        assert legend[properties["classification"]["name"]] == properties["classification"]["color"]


def test_rings_are_the_patches_closed_valid_and_counter_clockwise(tmp_path: Path):
    scores = some_scores()
    document = written(tmp_path / "a.geojson", scores)
    for feature, (x, y) in zip(document["features"], scores.xy_l0.tolist(), strict=True):
        polygon = shape(feature["geometry"])
        ring = feature["geometry"]["coordinates"][0]
        assert ring[0] == ring[-1]
        assert polygon.is_valid
        assert shapely.is_ccw(polygon.exterior)
        assert polygon.equals(box(x, y, x + 448, y + 512))


def test_measurements_are_the_scores_and_named_after_them(tmp_path: Path):
    scores = some_scores()
    document = written(tmp_path / "a.geojson", scores)
    for i, feature in enumerate(document["features"]):
        measurements = feature["properties"]["measurements"]
        assert measurements["probability of tumour"] == pytest.approx(scores.values[i], rel=1e-3)
        assert measurements["rank"] == scores.rank[i]


def test_attention_comes_with_the_percentile_that_its_classes_cut(tmp_path: Path):
    scores = some_scores(kind="attention", meaning="attention")
    document = written(tmp_path / "a.geojson", scores)
    for i, feature in enumerate(document["features"]):
        measurements = feature["properties"]["measurements"]
        assert measurements["attention"] == pytest.approx(scores.values[i], rel=1e-3)
        assert measurements["percentile"] == pytest.approx(scores.percentile[i], rel=1e-3)


def test_the_file_says_what_it_holds(tmp_path: Path):
    legend = written(tmp_path / "a.geojson", some_scores(kind="attention", meaning="attention"))
    assert legend["wsikit"]["meaning"] == "attention"
    assert "percentile" in legend["wsikit"]["shown"]
    assert "level-0" in legend["wsikit"]["frame"]


@pytest.mark.parametrize("kind", ["probability", "attention"])
def test_classes_are_bands_of_the_shown_score(tmp_path: Path, kind: ScoreKind):
    values = np.float32([0.0, 0.1999, 0.5, 0.7, 1.0])
    xy = np.zeros((5, 2), np.int32)
    scores = PatchScores(xy, Size(9, 9), values, "p", kind)
    document = written(tmp_path / "a.geojson", scores, thresholds=(0.5, 0.75))
    names = [feature["properties"]["classification"]["name"] for feature in document["features"]]
    if kind == "probability":
        low, middle, high = "tumour 0-0.5", "tumour 0.5-0.75", "tumour 0.75-1"
        assert names == [low, low, middle, middle, high]
    else:  # percentiles 10, 30, 50, 70, 90
        assert names[0] == names[1] == "tumour percentile 0-50"
        assert names[2] == names[3] == "tumour percentile 50-75"
        assert names[4] == "tumour percentile 75-100"


def test_offset_moves_every_corner(tmp_path: Path):
    still = written(tmp_path / "a.geojson", some_scores())
    moved = written(tmp_path / "b.geojson", some_scores(), offset_l0=(-100, 30))
    for a, b in zip(still["features"], moved["features"], strict=True):
        ring = [[x - 100, y + 30] for x, y in a["geometry"]["coordinates"][0]]
        assert ring == b["geometry"]["coordinates"][0]
    assert moved["wsikit"]["offset_l0"] == [-100, 30]


def test_hostile_words_stay_words(tmp_path: Path):
    meaning = 'a "quoted" \\ {brace} \u202e 切\udcff\n'
    scores = some_scores(3, meaning=meaning)
    write_geojson(tmp_path / "a.geojson", scores, name='x: "y"\n{z}')
    document = json.loads((tmp_path / "a.geojson").read_text("ascii"))
    assert set(document["features"][0]["properties"]["measurements"]) >= {meaning}
    name = document["features"][0]["properties"]["classification"]["name"]
    assert ":" not in name
    assert "\n" not in name


def test_no_patches(tmp_path: Path):
    document = written(tmp_path / "a.geojson", some_scores(0))
    jsonschema.validate(document, COLLECTION)
    assert document["features"] == []


def test_tiny_scores_are_still_numbers(tmp_path: Path):
    values = np.float32([1e-38, 3e-7, 1e-5])
    scores = PatchScores(np.zeros((3, 2), np.int32), Size(9, 9), values, "attention", "attention")
    document = written(tmp_path / "a.geojson", scores)
    got = [f["properties"]["measurements"]["attention"] for f in document["features"]]
    np.testing.assert_allclose(got, values, rtol=1e-3)


def test_a_hundred_thousand_patches_stay_small(tmp_path: Path):
    path = tmp_path / "a.geojson"
    start = time.perf_counter()
    write_geojson(path, some_scores(100_000), name="tumour")
    assert time.perf_counter() - start < 20
    assert path.stat().st_size < 30_000_000
    assert len(path.read_text("ascii").splitlines()) == 100_002


def test_of_many_patches_each_class_states_its_colour_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plain = written(tmp_path / "a.geojson", some_scores())["features"]
    monkeypatch.setattr(geojson_patches, "MANY", 50)
    short = written(tmp_path / "b.geojson", some_scores())["features"]
    seen: dict[str, dict] = {}
    for a, b in zip(plain, short, strict=True):
        kind = b["properties"]["classification"]
        if isinstance(kind, dict):  # QuPath makes the class, and knows it by its name from then on
            assert seen.setdefault(kind["name"], kind) is kind
        b["properties"]["classification"] = kind if isinstance(kind, dict) else seen[kind]
        assert a == b
    assert len(seen) == 5


def test_equal_input_gives_equal_bytes(tmp_path: Path):
    for name in ("a", "b"):
        write_geojson(tmp_path / name, some_scores(), name="tumour")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "a.geojson"
    path.write_text("old")
    with pytest.raises(ValueError, match="thresholds must rise"):
        write_geojson(path, some_scores(), name="x", thresholds=(0.5, 0.5))
    assert path.read_text() == "old"
    with pytest.raises(UsageError, match="cannot write"):
        write_geojson(path / "b.geojson", some_scores(), name="x")
    assert [p.name for p in tmp_path.iterdir()] == ["a.geojson"]


@pytest.mark.parametrize("thresholds", [(0.0,), (1.0,), (0.6, 0.4), (float("nan"),)])
def test_thresholds_must_rise(thresholds: tuple[float, ...]):
    with pytest.raises(ValueError, match="thresholds must rise"):
        score_bands(some_scores(3), "x", thresholds)


def test_bands_without_a_cut():
    (band,) = score_bands(some_scores(3), "tumour", ())
    assert (band.low, band.high) == (0, 1)
