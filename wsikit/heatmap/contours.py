"""Merge patches into connected areas whose outlines run along patch edges.

The patches' edges cut the slide into a coarse raster of cells, each wholly inside or outside. Cells
are painted, labelled and their outlines walked, so the cost grows with the number of patches, not
with what a union of as many polygons costs (a hundred times more for 100,000 of them).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from wsikit.types import BoolMask, Size

MOST_CELLS = 1 << 23
"""A raster may have so many cells; patches strewn without any grid are joined as polygons."""

SNAP = 1
"""A patch's far edge this near to its neighbour's corner is on it: both are rounded, in px."""

Ring = NDArray[np.int64]
"""(P, 2) points x, y in level-0 px; the last repeats the first."""


@dataclass(frozen=True)
class ConnectedArea:
    """Patches that hang together by their sides.

    Attributes:
        rings: the outline, counter-clockwise by its numbers, then its holes, clockwise. No ring
            meets itself; two of them may meet in single points, as RFC 7946 allows.
        patches: (P,) int64, which patches it is made of, rising.
    """

    rings: tuple[Ring, ...]
    patches: NDArray[np.int64]

    @property
    def area(self) -> int:
        """Its area without the holes, in level-0 px."""
        return sum(_signed_area(ring) for ring in self.rings)


class PatchRaster:
    """Hold the raster that patches of one size cut a slide into.

    Args:
        xy_l0: (N, 2) int, top left corners, x and y in level-0 px. They may overlap.
        side_l0: width and height of a patch in level-0 px.
    """

    def __init__(self, xy_l0: NDArray[np.integer], side_l0: Size) -> None:
        corners = xy_l0.astype(np.int64)
        ends = [_ends(corners[:, axis], side_l0[axis]) for axis in (0, 1)]
        self._boxes = np.stack([corners[:, 0], corners[:, 1], *ends], axis=1)
        self._lines = [np.unique(self._boxes[:, axis::2]) for axis in (0, 1)]
        self._cells = np.stack(
            [np.searchsorted(self._lines[n % 2], self._boxes[:, n]) for n in range(4)], axis=1
        )

    def areas(self, chosen: BoolMask) -> Iterator[ConnectedArea]:
        """Yield the connected areas of some patches, from the top of the slide down.

        Patches that meet at a corner only are apart.

        Args:
            chosen: (N,) bool.
        """
        patches = np.flatnonzero(chosen)
        if not len(patches):
            return
        if len(self._lines[0]) * len(self._lines[1]) > MOST_CELLS:
            yield from _joined(self._boxes, patches)
            return
        labels, count = ndimage.label(self._painted(patches))
        left, top = self._cells[patches, :2].T
        owner = labels[top, left]
        members = np.split(
            patches[np.argsort(owner, kind="stable")],
            np.cumsum(np.bincount(owner, minlength=count + 1)[1:-1]),
        )
        rings: list[list[Ring]] = [[] for _ in range(count)]
        for label, rowcol in _outlines(labels):
            ring = np.stack([self._lines[0][rowcol[:, 1]], self._lines[1][rowcol[:, 0]]], axis=1)
            rings[label - 1].append(ring)
        for own, parts in zip(members, rings, strict=True):
            # An area has one outline, and only that runs counter-clockwise.
            parts.sort(key=_signed_area, reverse=True)
            yield ConnectedArea(tuple(parts), own)

    def _painted(self, patches: NDArray[np.int64]) -> BoolMask:
        """Return the cells that some patches cover, (rows, cols): by the sum of their corners."""
        across, down = (len(line) for line in self._lines)
        left, top, right, bottom = self._cells[patches].T
        count = np.zeros((down, across), np.int32)
        np.add.at(count, (top, left), 1)
        np.add.at(count, (bottom, right), 1)
        np.add.at(count, (top, right), -1)
        np.add.at(count, (bottom, left), -1)
        return np.asarray(count.cumsum(axis=0).cumsum(axis=1) > 0)


def _ends(starts: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """Return the patches' far edges along one axis, on the next patch's corner where it is meant.

    Corners are rounded to whole pixels and all patches have one size, so between neighbours there
    may be a gap or an overlap of a pixel, where none is meant.
    """
    ends, lines = starts + side, np.unique(starts)
    if side > 2 * SNAP:
        meets = np.isin(ends, lines)
        for miss in (-SNAP, SNAP):
            near = ~meets & np.isin(ends + miss, lines)
            ends = np.where(near, ends + miss, ends)
            meets |= near
    return ends


def _signed_area(ring: Ring) -> int:
    """Return the area a closed ring encloses: above 0 where it runs counter-clockwise."""
    x, y = ring.T
    return int(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) // 2


@dataclass(frozen=True)
class _Sides:
    """The sides of cells between a region and what is not of it, the region on the left.

    Attributes:
        place: (S,) int64, the cell corner where a side begins, counted along the rows.
        turn: (S,) int64, where it goes: 0 right, 1 down, 2 left, 3 up, so that one more is a turn
            to the left by the numbers.
        label: (S,) int64, the region.
    """

    place: NDArray[np.int64]
    turn: NDArray[np.int64]
    label: NDArray[np.int64]


def _sides(labels: NDArray[np.int32]) -> _Sides:
    """List the sides, those that go right first and from the top down."""
    padded = np.pad(labels, 1)
    own, across = padded[1:-1, 1:-1], labels.shape[1] + 1
    beside = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])
    begins = ((0, 0), (0, 1), (1, 1), (1, 0))
    places, turns, regions = [], [], []
    for turn, (other, (down, right)) in enumerate(zip(beside, begins, strict=True)):
        row, col = np.nonzero((own > 0) & (own != other))
        places.append((row + down) * across + col + right)
        turns.append(np.full(len(row), turn))
        regions.append(own[row, col].astype(np.int64))
    return _Sides(np.concatenate(places), np.concatenate(turns), np.concatenate(regions))


def _followers(sides: _Sides, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return for each side the one that goes on from its end.

    Where two cells of one region meet at a corner only, the way turns right and so goes across:
    the ring that would meet itself there becomes two that meet in a point.
    """
    across = shape[1] + 1
    end = sides.place + np.array([1, across, -1, -across])[sides.turn]
    begins = np.full((4, (shape[0] + 1) * across), -1, np.int32)
    begins[sides.turn, sides.place] = np.arange(len(sides.place))
    follower = np.full(len(end), -1)
    for way in (1, 0, 3):  # left, straight on, right: the last that there is
        other = begins[(sides.turn + way) % 4, end]
        same = (other >= 0) & (sides.label[other] == sides.label)
        follower[same] = other[same]
    return follower


def _outlines(labels: NDArray[np.int32]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Walk around every region.

    Args:
        labels: (rows, cols), 0 outside; regions connected through cell sides.

    Yields:
        The label and the ring's corners, (P, 2) int64 row and column of cell corners, closed.
    """
    sides = _sides(labels)
    follower = _followers(sides, labels.shape).tolist()
    place, turn, label = sides.place.tolist(), sides.turn.tolist(), sides.label.tolist()
    seen = bytearray(len(place))
    # Every ring goes right somewhere; in this order the first such side begins at a corner.
    for first in range(int(np.count_nonzero(sides.turn == 0))):
        corners, side, last = [], first, -1
        while not seen[side]:
            seen[side] = 1
            if turn[side] != last:
                corners.append(place[side])
                last = turn[side]
            side = follower[side]
        if corners:
            corners.append(corners[0])
            yield label[first], np.stack(np.divmod(corners, labels.shape[1] + 1), axis=1)


def _joined(boxes: NDArray[np.int64], patches: NDArray[np.int64]) -> Iterator[ConnectedArea]:
    """Join patches that lie on no grid as polygons, which is slow and knows no raster."""
    squares = shapely.box(*boxes[patches].T)
    parts = shapely.get_parts(shapely.orient_polygons(shapely.union_all(squares)))
    found, part = shapely.STRtree(parts).query(shapely.centroid(squares), predicate="intersects")
    order = np.argsort(part, kind="stable")
    members = np.split(patches[found[order]], np.cumsum(np.bincount(part))[:-1])
    for polygon, own in zip(parts, members, strict=True):
        rings = (polygon.exterior, *polygon.interiors)
        yield ConnectedArea(
            tuple(np.rint(shapely.get_coordinates(r)).astype(np.int64) for r in rings), own
        )
