"""Read drawn areas from the XML that ASAP writes (Automated Slide Analysis Platform).

Polygons, rectangles and splines count, a spline as the polygon through its points; dots, point sets
and measures have no area. An annotation's class is its group. ASAP has no holes: where a study
draws them as areas of another group, as CAMELYON16 does with `_2`, they are of that class.

ASAP shows what OpenSlide calls level 0 and never cuts a slide to its scanned bounds, so the
coordinates need no moving.

Nothing in the file is trusted. Its size is bounded, and a document type is refused with its first
word: there is no entity to expand and no address to open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

import numpy as np

from wsikit.errors import SlideError
from wsikit.stages.area_file import Area, AreaFile, read_text, refuse_tangle, text_digest
from wsikit.tissue.outlines import clean_area

SAVE = "save the annotations again in ASAP"

ROOT = "ASAP_Annotations"
WITH_AREA = ("Polygon", "Rectangle", "Spline")
NO_GROUP = "None"
"""What ASAP writes as the group of an annotation that is in none."""


def read_asap(path: Path) -> AreaFile:
    """Read every area of an ASAP file.

    Raises:
        SlideError: it cannot be read, is no such XML, or holds a coordinate that is no number.
    """
    text = read_text(path)
    reader = _Reader(path)
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        fault = f"{expat.ErrorString(error.code)}, line {error.lineno}"
        raise SlideError(f"{path}: not XML ({fault})", SAVE) from None
    except (LookupError, ValueError):  # an encoding that Python does not know
        raise SlideError(f"{path}: not XML (its encoding is not known)", SAVE) from None
    refuse_tangle(path, reader.areas)
    return AreaFile(tuple(reader.areas), dict(reader.passed_over), text_digest(text), (0.0, 0.0))


@dataclass
class _Reader:
    """Take in the elements of a document as the parser meets them."""

    path: Path
    areas: list[Area] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    _number: int = 0
    _elements: int = 0
    _open: tuple[str, str] | None = None
    _points: list[tuple[float, float, float]] = field(default_factory=list)

    def doctype(self, *_: object) -> NoReturn:
        """Refuse what could declare entities."""
        self._refuse("declares a document type, which ASAP does not")

    def start(self, element: str, attributes: Mapping[str, str]) -> None:
        """Begin an annotation, or add a point to it."""
        self._elements += 1
        if self._elements == 1 and element != ROOT:
            self._refuse(f"not of ASAP (it begins with '{element[:40]}', not '{ROOT}')")
        if element == "Annotation":
            if self._open is not None:
                self._refuse(f"annotation {self._number} holds another")
            self._number += 1
            group = " ".join(attributes.get("PartOfGroup", "").split())
            self._open = (attributes.get("Type", ""), "" if group == NO_GROUP else group)
        elif element == "Coordinate" and self._open is not None:
            self._points.append(self._point(attributes))

    def end(self, element: str) -> None:
        """Finish an annotation."""
        if element != "Annotation" or self._open is None:
            return
        kind, group = self._open
        points = np.array(sorted(self._points, key=lambda point: point[0])).reshape(-1, 3)
        self._open = None
        self._points.clear()
        if kind not in WITH_AREA:
            self.passed_over[kind[:40] or "without a type"] += 1
            return
        try:
            shape = clean_area([points[:, 1:]])
        except ValueError as error:
            self._refuse(f"annotation {self._number}: {error}")
        if shape.is_empty:
            self.passed_over["empty polygon"] += 1
        else:
            self.areas.append(Area(shape, group))

    def _point(self, attributes: Mapping[str, str]) -> tuple[float, float, float]:
        """Return a point's place in the line, x and y."""
        try:
            x, y = float(attributes["X"]), float(attributes["Y"])
            order = attributes.get("Order")
            return float(len(self._points) if order is None else order), x, y
        except (KeyError, ValueError):
            self._refuse(f"annotation {self._number} has a coordinate that is no number")

    def _refuse(self, what: str) -> NoReturn:
        raise SlideError(f"{self.path}: {what}", SAVE)
