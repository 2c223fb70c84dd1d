"""Read drawn areas from a GeoJSON file, as QuPath and other viewers export them.

A file is a FeatureCollection, one Feature, one geometry, or a list of these. Polygons and
MultiPolygons count, holes and classes included. Points and lines have no area, QuPath's tiles and
cells were not drawn: they are counted as passed over. Nothing in the file is trusted: its size is
bounded and every fault is one line.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from wsikit.errors import SlideError
from wsikit.stages.area_file import Area, AreaFile, read_text, refuse_tangle, text_digest
from wsikit.tissue.outlines import FARTHEST, Ring, clean_area

NOT_DRAWN = ("tile", "cell")
"""QuPath's `objectType` of what programs make in great number; nobody drew it as a region."""

EXPORT = "export the annotations again as GeoJSON"


def read_geojson(path: Path) -> AreaFile:
    """Read every area of a GeoJSON file.

    Raises:
        SlideError: it cannot be read, is no GeoJSON, or holds a coordinate that is no number.
    """
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise SlideError(f"{path}: not GeoJSON (no valid JSON text)", EXPORT) from None
    reader = _Reader(path)
    areas = tuple(reader.read(content))
    refuse_tangle(path, areas)
    return AreaFile(areas, dict(reader.passed_over), text_digest(text), _own_offset(content))


def _own_offset(content: Any) -> tuple[float, float] | None:
    """Return by how much the file says that its coordinates were moved, as wsikit's own do."""
    said = content.get("wsikit") if isinstance(content, dict) else None
    offset = said.get("offset_l0") if isinstance(said, dict) else None
    if not isinstance(offset, list) or len(offset) != 2:
        return None
    if not all(type(part) in (int, float) and abs(part) <= FARTHEST for part in offset):
        return None
    return (float(offset[0]), float(offset[1]))


@dataclass
class _Reader:
    """Walk a GeoJSON document and keep count of what has no area."""

    path: Path
    passed_over: Counter[str] = field(default_factory=Counter)
    features: int = 0

    def read(self, content: Any) -> Iterator[Area]:
        """Yield the areas of a document, a feature or a geometry."""
        kind = content.get("type") if isinstance(content, dict) else None
        if isinstance(content, list):
            parts = content
        elif kind == "FeatureCollection":
            parts = self._list(content, "features")
        elif isinstance(kind, str):
            parts = [content]
        else:
            self._refuse("not GeoJSON (an object with a 'type' is missing)")
        for part in parts:
            self.features += 1
            yield from self._feature(part)

    def _feature(self, content: Any) -> Iterator[Area]:
        if not isinstance(content, dict) or not isinstance(content.get("type"), str):
            self._refuse(f"{self._place()} is not a GeoJSON feature")
        if content["type"] == "FeatureCollection":
            self._refuse(f"{self._place()} is a collection inside another")
        if content["type"] != "Feature":
            yield from self._geometry(content, "")
        elif content.get("geometry") is None:
            self.passed_over["without geometry"] += 1
        elif (made := _object_type(content.get("properties"))) in NOT_DRAWN:
            self.passed_over[made] += 1
        else:
            yield from self._geometry(content["geometry"], _class_name(content.get("properties")))

    def _geometry(self, content: Any, name: str) -> Iterator[Area]:
        """Yield a geometry's area; the parts of a collection share the class."""
        kind = content.get("type") if isinstance(content, dict) else None
        if kind == "GeometryCollection":
            waiting = self._list(content, "geometries")
            if any(isinstance(p, dict) and p.get("type") == kind for p in waiting):
                self._refuse(f"{self._place()} is a collection inside another")
            for part in waiting:
                yield from self._geometry(part, name)
        elif kind == "Polygon":
            yield from self._area(self._list(content, "coordinates"), name)
        elif kind == "MultiPolygon":
            for rings in self._list(content, "coordinates"):
                yield from self._area(rings, name)
        elif isinstance(kind, str):
            self.passed_over[kind[:40]] += 1
        else:
            self._refuse(f"{self._place()} has no geometry with a 'type'")

    def _area(self, rings: Any, name: str) -> Iterator[Area]:
        if not isinstance(rings, list):
            self._refuse(f"{self._place()} has a polygon that is no list of rings")
        try:
            shape = clean_area([_ring(ring) for ring in rings])
        except ValueError as error:
            self._refuse(f"{self._place()}: {error}")
        if shape.is_empty:
            self.passed_over["empty polygon"] += 1
        else:
            yield Area(shape, name)

    def _list(self, content: Mapping[str, Any], key: str) -> list[Any]:
        value = content.get(key)
        if not isinstance(value, list):
            self._refuse(f"{self._place()} has no list of {key}")
        return value

    def _place(self) -> str:
        return f"feature {self.features}" if self.features else "the file"

    def _refuse(self, what: str) -> NoReturn:
        raise SlideError(f"{self.path}: {what}", EXPORT)


def _ring(points: Any) -> Ring:
    """Return a ring's points as (P, 2) float64; a height beside x and y is dropped.

    Raises:
        ValueError: they are no pairs of numbers.
    """
    if not isinstance(points, list):
        raise ValueError("a ring is no list of points")
    if not points:
        return np.zeros((0, 2))
    try:
        array = np.asarray(points)
    except ValueError:
        array = np.zeros(0)
    if array.ndim != 2 or array.shape[1] < 2 or array.dtype.kind not in "iuf":
        raise ValueError("a ring is no list of points with two numbers each")
    return array[:, :2].astype(np.float64)


def _object_type(properties: Any) -> str:
    """Return what kind of QuPath object a feature is; empty where it does not say."""
    found = properties.get("objectType") if isinstance(properties, dict) else None
    return found if isinstance(found, str) else ""


def _class_name(properties: Any) -> str:
    """Return a feature's class: QuPath's `classification`, by either of its two spellings."""
    found = properties.get("classification") if isinstance(properties, dict) else None
    if isinstance(found, dict):
        names = found.get("names")
        joined = ": ".join(map(str, names)) if isinstance(names, list) else ""
        found = found.get("name") or joined
    return " ".join(found.split()) if isinstance(found, str) else ""
