"""Patches that lie between the stored ones: which there are, and their pixels.

A read is cut out of the stored patches it overlaps. Where it reaches beyond them, the missing
pieces come from the slide's own file, normalised as tiling would have done; without the file, such
a read is not made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsikit.slides.open import open_slide
from wsikit.slides.slide import Slide
from wsikit.stages.heatmaps.stored_pixels import CACHE_BYTES
from wsikit.stages.tiling.shard import read_patch, store_mpp
from wsikit.stain.methods import normaliser_from_json
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import UInt8Image

LEAST_STORED = 0.5
"""A read is made where at least this share of it is tissue, as the store has it."""

Place = tuple[int, int]


@dataclass(frozen=True)
class Shift:
    """The grid of patches, moved.

    Attributes:
        x_px: store px to the right, 0 up to the patch's width.
        y_px: store px down.
        rowcol: (M, 2) int64, row and column in the moved grid of the reads that are made.
    """

    x_px: int
    y_px: int
    rowcol: NDArray[np.int64]


class Windows:
    """Read squares of the stored image at any place.

    Args:
        stored: a slide with pixels.
        slide: the slide's own file, open; None: only what is stored is read.
    """

    def __init__(self, stored: StoredSlide, slide: Slide | None) -> None:
        self._stored, self._slide = stored, slide
        self._side = stored.grid.patch_px
        places = zip(stored.patches.row.tolist(), stored.patches.col.tolist(), strict=True)
        self._index: dict[Place, int] = {place: n for n, place in enumerate(places)}
        self._normaliser = normaliser_from_json(stored.attributes["stain"])
        size = max(8, CACHE_BYTES // (3 * self._side**2))
        self._square = lru_cache(size)(self._read_square)

    def shifts(self, stride: int) -> list[Shift]:
        """List the grids that reads at a stride lie on, that of the stored patches left out.

        Args:
            stride: store px; the patch's side is a multiple of it.
        """
        steps = range(0, self._side, stride)
        moved = [(x, y) for y in steps for x in steps if (x, y) != (0, 0)]
        return [Shift(x, y, self._places(x, y)) for x, y in moved]

    def _places(self, x: int, y: int) -> NDArray[np.int64]:
        """Return the rows and columns of a moved grid at which a read is made."""
        near = {
            (row - up, col - left)
            for row, col in self._index
            for up in ((0, 1) if y else (0,))
            for left in ((0, 1) if x else (0,))
        }
        least = LEAST_STORED if self._slide is not None else 1.0
        inside = [(r, c) for r, c in near if r >= 0 and c >= 0 and self._held(r, c, x, y) >= least]
        return np.array(sorted(inside), np.int64).reshape(-1, 2)

    def _held(self, row: int, col: int, x: int, y: int) -> float:
        """Return the share of a read that is stored, 0..1."""
        return sum(
            share for place, share in _parts(row, col, x, y, self._side) if place in self._index
        )

    def read(self, row: int, col: int, shift: Shift) -> UInt8Image:
        """Return one read as (side, side, 3) uint8, stain-normalised as the stored patches are.

        Raises:
            StoreError: a stored patch is damaged.
            DamagedPixelsError: the file's pixels cannot be decoded.
        """
        side = self._side
        out = np.empty((side, side, 3), np.uint8)
        for (r, c), share in _parts(row, col, shift.x_px, shift.y_px, side):
            if share:
                top, left = (r - row) * side - shift.y_px, (c - col) * side - shift.x_px
                y0, x0, y1, x1 = (
                    max(0, top),
                    max(0, left),
                    min(side, top + side),
                    min(side, left + side),
                )
                out[y0:y1, x0:x1] = self._square((r, c))[y0 - top : y1 - top, x0 - left : x1 - left]
        return out

    def _read_square(self, place: Place) -> UInt8Image:
        index = self._index.get(place)
        if index is not None:
            return np.asarray(self._stored.read_patch(index), np.uint8)
        if self._slide is None:
            raise RuntimeError(f"no file to read {place} from")
        grid = self._stored.grid
        pixels = read_patch(self._slide, grid, place, store_mpp(self._slide, grid))
        return self._normaliser.apply(pixels)


def _parts(row: int, col: int, x: int, y: int, side: int) -> Iterator[tuple[Place, float]]:
    """Yield the places of the stored grid that a moved patch overlaps, and the share on each."""
    for r, down in ((row, side - y), (row + 1, y)):
        for c, across in ((col, side - x), (col + 1, x)):
            if down and across:
                yield (r, c), down * across / side**2


@contextmanager
def open_windows(stored: StoredSlide, file: Path | None) -> Iterator[Windows]:
    """Open a slide for reads between its patches.

    Args:
        stored: the slide in the store.
        file: its own file; None: only what is stored is read.

    Raises:
        StoreError: the store holds no pixels of it.
        SlideError: the file cannot be opened.
    """
    stored.require_pixels()
    if file is None:
        yield Windows(stored, None)
        return
    with open_slide(file, stored.mpp_l0) as slide:
        yield Windows(stored, slide)


def batches(windows: Windows, shift: Shift, size: int) -> Iterator[Sequence[UInt8Image]]:
    """Yield the pixels of a moved grid's reads, in its order, a batch at a time."""
    for start in range(0, len(shift.rowcol), size):
        places = shift.rowcol[start : start + size].tolist()
        yield [windows.read(row, col, shift) for row, col in places]
