"""Read a stored slide in windows of another size, stride or overlap than its patches.

A window is any square of store pixels. Its level-0 corner is rounded as a patch's is, so windows
as large as the patches and side by side are exactly the stored patches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wsikit.errors import UsageError
from wsikit.geometry import PatchGrid, round_half_up
from wsikit.store.stored_slide import WHITE, StoredSlide
from wsikit.types import FloatArray, UInt8Image

MOST_WINDOWS = 20_000_000
"""More windows than any use needs; a stride of a few pixels would fill the memory."""


@dataclass(frozen=True)
class Windows:
    """The windows of one slide, row by row.

    Attributes:
        size_px: side of a window in store px.
        x_px: (N,) int32, left edge in store px.
        y_px: (N,) int32, top edge in store px.
        x: (N,) int32, left edge in level-0 px.
        y: (N,) int32, top edge in level-0 px.
        side_l0: (width, height) of a window in level-0 px.
        cover: (N,) float32, share of the window that stored patches cover, 0..1.
    """

    size_px: int
    x_px: NDArray[np.int32]
    y_px: NDArray[np.int32]
    x: NDArray[np.int32]
    y: NDArray[np.int32]
    side_l0: tuple[int, int]
    cover: FloatArray

    def __len__(self) -> int:
        return len(self.x_px)


def patch_windows(
    stored: StoredSlide, size_px: int, stride_px: int | None = None, min_cover: float = 0.5
) -> Windows:
    """Lay windows over a stored slide, from its top left corner, and keep those on patches.

    Args:
        stored: the slide.
        size_px: side of a window in store px, at least 1.
        stride_px: distance of neighbouring windows in store px, at least 1; default `size_px`.
        min_cover: least share of a window that stored patches must cover, 0..1; at 0 any share
            above 0. A share of 1 keeps windows without a white part.

    Returns:
        The windows, sorted by y, then x.

    Raises:
        UsageError: a size or share that cannot be, more windows than `MOST_WINDOWS`, or a slide
            that is a collection of pictures.
    """
    stride = size_px if stride_px is None else stride_px
    _check(size_px, stride, min_cover)
    _check_one_image(stored)
    grid = stored.grid
    kept = np.zeros((grid.rows, grid.cols), np.bool_)
    kept[stored.patches.row, stored.patches.col] = True
    reach = (size_px + grid.patch_px) ** 2 / stride**2
    if min(reach * kept.sum(), _lattice(grid, stride)) > MOST_WINDOWS:
        raise UsageError(
            f"a stride of {stride} px gives too many windows of slide '{stored.slide_id}'",
            f"use a larger one, such as {max(1, size_px // 2)}",
        )
    return _covered(grid, kept, size_px, stride, min_cover)


def read_window(stored: StoredSlide, x_px: int, y_px: int, size_px: int) -> UInt8Image:
    """Return any square of a stored slide's image, white where it holds no patch.

    Args:
        stored: the slide.
        x_px: left edge in store px; may lie outside the image.
        y_px: top edge in store px; may lie outside the image.
        size_px: side in store px, at least 1.

    Returns:
        (size_px, size_px, 3) uint8.

    Raises:
        UsageError: the size is below 1, or the slide is a collection of pictures.
        StoreError: a chunk is damaged.
    """
    _check(size_px, 1, 1.0)
    _check_one_image(stored)
    return _Sweep(stored).window(x_px, y_px, size_px)


def sweep_windows(stored: StoredSlide, windows: Windows) -> Iterator[UInt8Image]:
    """Read windows one after the other, decoding each patch once.

    Patches that the sweep has passed are let go: it holds the kept patches of as many patch rows as
    one row of windows touches. For windows no larger than a patch these are two rows: 300 MB on a
    slide of 100,000 store px that is tissue from side to side, however high it is.

    Args:
        stored: the slide.
        windows: from `patch_windows`; any selection of them that is still sorted by y.

    Yields:
        (size_px, size_px, 3) uint8, in the order of `windows`.

    Raises:
        StoreError: a chunk is damaged.
    """
    sweep = _Sweep(stored)
    for x_px, y_px in zip(windows.x_px.tolist(), windows.y_px.tolist(), strict=True):
        sweep.forget_above(y_px)
        yield sweep.window(x_px, y_px, windows.size_px)


@dataclass
class _Sweep:
    """Put windows together from decoded patches, and keep those for the windows that follow."""

    stored: StoredSlide
    decoded: dict[int, dict[int, UInt8Image]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        index = self.stored.patches
        self.patch_px = self.stored.grid.patch_px
        # Patches lie in the order of shards, so a place is looked up by its number in the grid.
        cols = self.stored.grid.cols
        places = (index.row.astype(np.int64) * cols + index.col).tolist()
        self.places = {place: i for i, place in enumerate(places)}

    def forget_above(self, y_px: int) -> None:
        """Let go of the patch rows that end at or above a line."""
        for row in [r for r in self.decoded if (r + 1) * self.patch_px <= y_px]:
            del self.decoded[row]

    def window(self, x_px: int, y_px: int, size_px: int) -> UInt8Image:
        """Return one window."""
        out = np.full((size_px, size_px, 3), WHITE, np.uint8)
        patch, grid = self.patch_px, self.stored.grid
        for row in _touched(y_px, size_px, patch, grid.rows):
            for col in _touched(x_px, size_px, patch, grid.cols):
                index = self.places.get(row * grid.cols + col)
                if index is None:
                    continue
                down, from_y = _overlap(y_px, size_px, row * patch, patch)
                across, from_x = _overlap(x_px, size_px, col * patch, patch)
                out[down, across] = self._patch(row, col, index)[from_y, from_x]
        return out

    def _patch(self, row: int, col: int, index: int) -> UInt8Image:
        line = self.decoded.setdefault(row, {})
        if col not in line:
            line[col] = self.stored.read_patch(index)
        return line[col]


def _check(size_px: int, stride_px: int, min_cover: float) -> None:
    if size_px < 1 or stride_px < 1:
        raise UsageError(
            f"windows of {size_px} px at a stride of {stride_px} px", "both must be at least 1"
        )
    if not 0 <= min_cover <= 1:
        raise UsageError(f"a least cover of {min_cover}", "give a share, 0 to 1")


def _check_one_image(stored: StoredSlide) -> None:
    if stored.is_collection:
        raise UsageError(
            f"slide '{stored.slide_id}' is a collection of pictures, and no window spans two",
            "read them whole, with read_patch",
        )


def _lattice(grid: PatchGrid, stride: int) -> int:
    """Count the windows that begin in the image."""
    return -(-grid.image_px.width // stride) * -(-grid.image_px.height // stride)


def _touched(start: int, size: int, patch: int, count: int) -> range:
    """Return the rows or columns of patches that `[start, start + size)` touches."""
    return range(max(0, start // patch), min(count, -(-(start + size) // patch)))


def _overlap(start: int, size: int, patch_start: int, patch: int) -> tuple[slice, slice]:
    """Return where a window and a patch overlap, in the window's and in the patch's own pixels."""
    low, high = max(start, patch_start), min(start + size, patch_start + patch)
    return slice(low - start, high - start), slice(low - patch_start, high - patch_start)


def _covered(
    grid: PatchGrid, kept: NDArray[np.bool_], size: int, stride: int, min_cover: float
) -> Windows:
    """Return the windows of the lattice that kept patches cover well enough.

    The area of kept patches above and left of a point is exact in whole px², by interpolation in a
    summed-area table over patches; one row of windows is looked at at a time.
    """
    table = np.zeros((grid.rows + 1, grid.cols + 1), np.int64)
    table[1:, 1:] = kept.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    lefts = np.arange(0, grid.image_px.width, stride, dtype=np.int64)
    least = max(1, int(np.ceil(min_cover * size * size - 1e-6)))
    found_x, found_y, found_area = [], [], []
    for top in range(0, grid.image_px.height, stride):
        strip = _line(table, top + size, grid.patch_px) - _line(table, top, grid.patch_px)
        if not strip[-1]:
            continue
        area = _along(strip, lefts + size, grid.patch_px) - _along(strip, lefts, grid.patch_px)
        good = np.flatnonzero(area >= least)
        found_x.append(lefts[good])
        found_y.append(np.full(len(good), top))
        found_area.append(area[good])
    x_px, y_px, area = (
        np.concatenate(found) if found else np.zeros(0, np.int64)
        for found in (found_x, found_y, found_area)
    )
    return Windows(
        size_px=size,
        x_px=x_px.astype(np.int32),
        y_px=y_px.astype(np.int32),
        x=np.floor(x_px * grid.scale[0] + 0.5).astype(np.int32),
        y=np.floor(y_px * grid.scale[1] + 0.5).astype(np.int32),
        side_l0=(round_half_up(size * grid.scale[0]), round_half_up(size * grid.scale[1])),
        cover=(area / (size * size)).astype(np.float32),
    )


def _line(table: NDArray[np.int64], y: int, patch: int) -> NDArray[np.int64]:
    """Return the table at a line `y` px from the top, times the patch's side: whole numbers."""
    row, part = divmod(min(y, (len(table) - 1) * patch), patch)
    below = table[min(row + 1, len(table) - 1)]
    return np.asarray(table[row] * (patch - part) + below * part)


def _along(line: NDArray[np.int64], x: NDArray[np.int64], patch: int) -> NDArray[np.int64]:
    """Return a line of the table at `x` px from the left, times the patch's side."""
    col, part = np.divmod(np.minimum(x, (len(line) - 1) * patch), patch)
    right = line[np.minimum(col + 1, len(line) - 1)]
    return np.asarray(line[col] * (patch - part) + right * part)
