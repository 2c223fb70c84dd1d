"""Merged areas as QuPath annotations."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import shapely
from scipy import ndimage
from shapely.geometry import box, shape

from wsikit.heatmap.geojson import write_geojson
from wsikit.heatmap.scores import PatchScores
from wsikit.types import Mpp, ScoreKind, Size

SIDE, MPP = Size(448, 512), Mpp(0.5, 0.25)
FEATURE = {
    "type": "object",
    "required": ["type", "geometry", "properties"],
    "properties": {
        "type": {"const": "Feature"},
        "id": {"type": "string"},
        "geometry": {
            "type": "object",
            "required": ["type", "coordinates"],
            "additionalProperties": False,
            "properties": {
                "type": {"const": "Polygon"},
                "coordinates": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "array",
                        "minItems": 4,
                        "items": {
                            "type": "array",
                            "items": {"type": "number"},
                            "minItems": 2,
                            "maxItems": 2,
                        },
                    },
                },
            },
        },
        "properties": {
            "type": "object",
            "required": ["objectType", "name", "classification", "measurements"],
            "additionalProperties": False,
            "properties": {
                "objectType": {"const": "annotation"},
                "name": {"type": "string", "minLength": 1},
                "classification": {
                    "type": "object",
                    # QuPath reads a class object only where it has both.
                    "required": ["name", "color"],
                    "additionalProperties": False,
                    "properties": {
                        "name": {"type": "string", "pattern": "^[^:\n]+$"},
                        "color": {
                            "type": "array",
                            "items": {"type": "integer", "minimum": 0, "maximum": 255},
                            "minItems": 3,
                            "maxItems": 3,
                        },
                    },
                },
                "measurements": {"type": "object", "additionalProperties": {"type": "number"}},
            },
        },
    },
    "additionalProperties": False,
}


def field(values: np.ndarray, kind: ScoreKind = "probability") -> PatchScores:
    """A score a cell of a (rows, cols) grid."""
    rows, cols = np.indices(values.shape)
    xy = np.stack([cols.ravel() * SIDE.width, rows.ravel() * SIDE.height], 1).astype(np.int32)
    meaning = "attention" if kind == "attention" else "probability of tumour"
    return PatchScores(xy, SIDE, values.ravel().astype(np.float32), meaning, kind)


def smooth(rows: int, cols: int) -> np.ndarray:
    values = ndimage.gaussian_filter(np.random.default_rng(0).random((rows, cols)), 2)
    return (values - values.min()) / np.ptp(values)


def contours(path: Path, scores: PatchScores, **more: Any) -> dict[str, Any]:
    more = {"name": "tumour", "style": "contours", "mpp": MPP} | more
    write_geojson(path, scores, **more)
    return json.loads(path.read_text("ascii"))


@pytest.mark.parametrize("kind", ["probability", "attention"])
def test_they_are_annotations_with_valid_polygons(tmp_path: Path, kind: ScoreKind) -> None:
    document = contours(tmp_path / "a.geojson", field(smooth(30, 40), kind))
    assert len(document["features"]) > 10
    for feature in document["features"]:
        jsonschema.validate(feature, FEATURE)
        polygon = shape(feature["geometry"])
        assert polygon.is_valid
        assert shapely.is_ccw(polygon.exterior)
        assert not any(shapely.is_ccw(ring) for ring in polygon.interiors)


def test_their_keys_are_those_of_qupath(tmp_path: Path, real_data: Path) -> None:
    theirs: set[str] = {"classification", "measurements"}  # in other samples than the first
    samples = sorted((real_data / "annotations").rglob("*json"))
    for path in filter(Path.is_file, samples):
        content = json.loads(path.read_text())
        for feature in content.get("features", [content]):
            theirs |= set(feature["properties"])
            outer = set(feature)
    document = contours(tmp_path / "a.geojson", field(smooth(9, 9)), style="both")
    for feature in document["features"]:
        assert set(feature["properties"]) <= theirs
        assert set(feature) <= outer


@pytest.mark.parametrize("kind", ["probability", "attention"])
def test_each_threshold_is_exactly_the_patches_that_reach_it(
    tmp_path: Path, kind: ScoreKind
) -> None:
    values = np.round(smooth(20, 25), 1)  # many on the cuts
    scores = field(values, kind)
    cuts = (0.3, 0.7)
    document = contours(tmp_path / "a.geojson", scores, thresholds=cuts)
    corner = scores.xy_l0
    boxes = shapely.box(*corner.T, *(corner + np.array(SIDE)).T)
    names = [entry["name"] for entry in document["wsikit"]["contours"]]
    for cut, name in zip(cuts, names, strict=True):
        own = [f for f in document["features"] if f["properties"]["classification"]["name"] == name]
        union = shapely.union_all([shape(feature["geometry"]) for feature in own])
        reached = scores.shown.astype(np.float64) >= cut
        assert shapely.equals(union, shapely.union_all(boxes[reached]))
        assert sum(f["properties"]["measurements"]["patches"] for f in own) == reached.sum()
    with_patches = contours(tmp_path / "b.geojson", scores, thresholds=cuts, style="both")
    assert with_patches["features"][len(values.ravel()) :] == document["features"]


def test_numbers_and_names(tmp_path: Path) -> None:
    values = np.zeros((3, 7))
    values[0, :2] = 0.6, 0.9
    values[2, 4:] = 0.7, 0.95, 0.7
    document = contours(tmp_path / "a.geojson", field(values), thresholds=(0.5, 0.8))
    found = [feature["properties"] for feature in document["features"]]
    assert [f["name"] for f in found] == [
        "tumour >= 0.5 #1", "tumour >= 0.5 #2", "tumour >= 0.8 #1", "tumour >= 0.8 #2",
    ]  # fmt: skip
    patch_um2 = 448 * 0.5 * 512 * 0.25
    assert found[0]["measurements"] == {
        "probability of tumour: mean": 0.7833,
        "probability of tumour: max": 0.95,
        "patches": 3,
        "area um^2": 3 * patch_um2,
    }
    assert found[1]["measurements"]["patches"] == 2
    assert shape(document["features"][3]["geometry"]).equals(box(448, 0, 896, 512))
    legend = document["wsikit"]["contours"]
    assert [entry["color"] for entry in legend] == [
        entry["color"] for entry in document["wsikit"]["classes"][1:]
    ]


def test_attention_is_cut_by_percentile_and_says_so(tmp_path: Path) -> None:
    scores = field(np.array([[1e-4, 2e-4, 3e-4, 4e-4, 5e-4]]), "attention")
    document = contours(tmp_path / "a.geojson", scores, name="attention", thresholds=(0.5,))
    (feature,) = document["features"]
    assert feature["properties"]["classification"]["name"] == "attention percentile >= 50"
    measured = feature["properties"]["measurements"]
    assert measured["patches"] == 3
    assert measured["attention: mean"] == pytest.approx(4e-4, rel=1e-3)
    assert measured["percentile: max"] == 90
    assert document["wsikit"]["shown"] == "attention: percentile within this slide"


def test_without_a_known_mpp_no_area_is_stated(tmp_path: Path) -> None:
    document = contours(tmp_path / "a.geojson", field(np.ones((1, 1))), mpp=None)
    assert "area um^2" not in document["features"][0]["properties"]["measurements"]


def test_the_offset_moves_them_alike(tmp_path: Path) -> None:
    document = contours(
        tmp_path / "a.geojson", field(np.ones((1, 2))), thresholds=(0.5,), offset_l0=(-100, 30)
    )
    polygon = shape(document["features"][0]["geometry"])
    assert polygon.bounds == (-100, 30, 2 * SIDE.width - 100, SIDE.height + 30)


@pytest.mark.parametrize("values", [np.zeros((4, 4)), np.zeros((0, 0))])
def test_nothing_above_any_threshold(tmp_path: Path, values: np.ndarray) -> None:
    document = contours(tmp_path / "a.geojson", field(values))
    assert document["type"] == "FeatureCollection"
    assert document["features"] == []


@pytest.mark.timed
def test_a_hundred_thousand_patches_stay_small_and_quick(tmp_path: Path) -> None:
    scores = field(smooth(250, 400))
    for style in ("contours", "both"):
        path = tmp_path / f"{style}.geojson"
        start = time.perf_counter()
        write_geojson(path, scores, name="tumour", style=style, mpp=MPP)
        assert time.perf_counter() - start < 10
        assert path.stat().st_size < 30_000_000
    # Noise is the worst there is: nearly every patch is an area of its own.
    noise = field(np.random.default_rng(0).random((250, 400)))
    write_geojson(path, noise, name="tumour", style="contours", mpp=MPP)
    assert path.stat().st_size < 30_000_000
