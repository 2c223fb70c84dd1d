"""Measure which share of each patch lies inside drawn areas, exactly and for all patches at once.

The area of a polygon inside a square is a sum over the polygon's edges, so each edge is cut where
it crosses from one patch to the next and every piece is booked in the patch it lies in. The cost
grows with the outlines' length, not with patches times polygons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from wsikit.geometry import PatchGrid

PIECES_AT_A_TIME = 1 << 20
"""Edge pieces worked on at once: bounds the memory, whatever is drawn."""

Edges = NDArray[np.float64]
"""(E, 4) float64: start x, start y, end x, end y, in patches from the grid's corner."""


def region_shares(areas: Sequence[Any], grid: PatchGrid) -> NDArray[np.float64]:
    """Return the share of each patch that lies inside the union of some areas.

    What counts is the part of a patch's square that lies on the slide: an area that covers the
    whole slide has a share of one in every patch, those that overhang the slide included.

    Args:
        areas: shapely Polygons and MultiPolygons, each valid, in level-0 px; they may overlap one
            another and reach beyond the slide. Other kinds of geometry have no share.
        grid: the slide's patch grid.

    Returns:
        (rows, cols) float64 in 0..1, exact but for rounding (below 1e-9).
    """
    slide = shapely.box(0, 0, grid.slide_px.width, grid.slide_px.height)
    drawn = np.array(areas, dtype=object)
    near = drawn[shapely.intersects(drawn, slide)] if len(areas) else drawn
    region = shapely.intersection(shapely.union_all(near), slide)
    shape = (grid.rows, grid.cols)
    inside, cover = np.zeros(shape), np.zeros(shape)
    for block in _blocks(_edges(region, grid)):
        pieces = _cut(_cut(block, 0), 1)
        height = pieces[:, 3] - pieces[:, 1]
        middle = (pieces[:, :2] + pieces[:, 2:]) / 2
        col = np.clip(middle[:, 0].astype(np.int64), 0, shape[1] - 1)
        row = np.clip(middle[:, 1].astype(np.int64), 0, shape[0] - 1)
        np.add.at(inside, (row, col), (middle[:, 0] - col) * height)
        np.add.at(cover, (row, col), height)
    # An edge bounds the region to its left in every patch between it and the slide's left border.
    inside[:, :-1] += cover[:, :0:-1].cumsum(axis=1)[:, ::-1]
    share: NDArray[np.float64] = np.clip(inside / _on_slide(grid), 0, 1)
    return share


def _on_slide(grid: PatchGrid) -> NDArray[np.float64]:
    """Return the share of each patch's square that lies on the slide, (rows, cols), above 0."""
    high, wide = (
        np.clip(length / (grid.patch_px * scale) - np.arange(count), 0, 1)
        for length, scale, count in (
            (grid.slide_px.height, grid.scale[1], grid.rows),
            (grid.slide_px.width, grid.scale[0], grid.cols),
        )
    )
    return np.asarray(high[:, None] * wide[None, :])


def _edges(region: Any, grid: PatchGrid) -> Edges:
    """List the outlines' edges, so directed that the sum of x dy over them is the region's area."""
    polygons = shapely.get_parts(region)
    polygons = polygons[shapely.get_type_id(polygons) == shapely.GeometryType.POLYGON]
    rings, owner = shapely.get_rings(polygons, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    points = points / (grid.patch_px * np.array(grid.scale))
    shell = np.r_[True, owner[1:] != owner[:-1]][: len(owner)]
    forward = shapely.is_ccw(rings) == shell
    along = ring[1:] == ring[:-1]
    edges = np.concatenate([points[:-1], points[1:]], axis=1)[along]
    backward = ~forward[ring[1:][along]]
    edges[backward] = edges[backward][:, [2, 3, 0, 1]]
    return np.asarray(edges[edges[:, 1] != edges[:, 3]])


def _blocks(edges: Edges) -> Iterator[Edges]:
    """Part the edges so that the pieces of a block stay few."""
    pieces = np.abs(edges[:, :2] - edges[:, 2:]).sum(axis=1) + 3
    block = (np.cumsum(pieces) // PIECES_AT_A_TIME).astype(np.int64)
    borders = np.flatnonzero(np.diff(block)) + 1
    yield from np.split(edges, borders)


def _cut(edges: Edges, axis: int) -> Edges:
    """Cut edges wherever coordinate `axis` is a whole number; the pieces keep their direction."""
    start, end = edges[:, axis], edges[:, axis + 2]
    first = np.floor(np.minimum(start, end)) + 1
    cuts = np.maximum(np.ceil(np.maximum(start, end)) - first, 0).astype(np.int64)
    edge = np.repeat(np.arange(len(edges)), cuts + 1)
    number = np.arange(len(edge)) - np.repeat(np.cumsum(cuts + 1) - (cuts + 1), cuts + 1)
    rising = (end >= start)[edge]
    last = number == cuts[edge]
    whole = np.where(rising, first[edge] + number, first[edge] + cuts[edge] - 1 - number)
    span = np.where(cuts > 0, end - start, 1.0)[edge]
    other = 1 - axis
    pieces = edges[edge]
    share = (whole - start[edge]) / span
    slope = edges[edge, other + 2] - edges[edge, other]
    pieces[:, axis + 2] = np.where(last, end[edge], whole)
    pieces[:, other + 2] = np.where(
        last, edges[edge, other + 2], edges[edge, other] + share * slope
    )
    later = number > 0
    pieces[later, :2] = pieces[np.flatnonzero(later) - 1, 2:]
    return pieces
