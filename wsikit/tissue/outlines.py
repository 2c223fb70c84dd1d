"""Make a clean area of an outline as people draw it: open, doubled back, or across itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

FARTHEST = 1e9
"""No slide has a pixel beyond this; a larger coordinate is a fault of the file."""

SAMPLE, COMPARISONS = 256, 1 << 26
"""Edges that stand for all when crossings are estimated: so many, or fewer where there are many."""

MOST_CROSSINGS = 500_000
"""Estimated crossings above which cleaning would take minutes; a drawing has a few hundred."""

Ring = NDArray[np.float64]
"""(P, 2) float64 points x, y of a closed line; the last one may repeat the first or not."""


def clean_area(rings: Sequence[Ring]) -> Any:
    """Return the area that an outline and its holes enclose.

    Where a line crosses itself, everything it goes around is inside, as in the programs that
    pathologists draw with.

    Args:
        rings: the outer line, then the holes.

    Returns:
        A valid shapely geometry, a Polygon or MultiPolygon; empty where nothing is enclosed.

    Raises:
        ValueError: a coordinate is not finite or absurdly large, or the outline is a tangle.
    """
    for ring in rings:
        if not (np.abs(ring) <= FARTHEST).all():
            raise ValueError("a coordinate is no number or lies far outside any slide")
    if not rings or not _encloses(rings[0]):
        return shapely.Polygon()
    polygon = shapely.Polygon(rings[0], [hole for hole in rings[1:] if _encloses(hole)])
    if polygon.is_valid:
        return polygon
    check_tangle([polygon])
    return shapely.make_valid(polygon, method="structure", keep_collapsed=False)


def _encloses(ring: Ring) -> bool:
    """Tell whether a closed line has the three different points an area needs."""
    return len(ring) > 2 and len(np.unique(ring, axis=0)) > 2


def check_tangle(areas: Sequence[Any]) -> None:
    """Refuse outlines that cross one another so often that joining them would take minutes.

    Args:
        areas: shapely Polygons and MultiPolygons.

    Raises:
        ValueError: they do.
    """
    points, owner = shapely.get_coordinates(areas, return_index=True)
    same = owner[1:] == owner[:-1]
    ends = np.stack([points[:-1][same], points[1:][same]])
    (left, top), (right, bottom) = ends.min(axis=0).T.copy(), ends.max(axis=0).T.copy()
    count = min(SAMPLE, max(16, COMPARISONS // max(1, len(left))))
    chosen = np.linspace(0, len(left) - 1, count).astype(np.int64) if len(left) else left
    touched = sum(
        np.count_nonzero(
            (left <= right[i]) & (right >= left[i]) & (top <= bottom[i]) & (bottom >= top[i])
        )
        for i in chosen.tolist()
    )
    # An edge touches itself, its neighbours and those nearby: ten are no sign of a tangle.
    crossings = (touched / count - 10) * len(left) / 2
    if crossings > MOST_CROSSINGS:
        raise ValueError("the outlines cross themselves or one another too often")
