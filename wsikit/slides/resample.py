"""Average an image down over area, exactly, at any ratio and offset."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from wsikit.types import Size, UInt8Image

STRIP_PX = 1 << 18
"""Source pixels averaged at a time: what stays in a core's cache, and bounds the working memory."""

WHOLE_RATIO_LIMIT = 256
"""Largest whole ratio whose row sums of uint8 fit uint16."""

TIE = 2e-4
"""What float32 sums of uint8 may be off by; a half that close is rounded up, as integers are."""


def area_average(
    image: UInt8Image,
    origin: tuple[float, float],
    ratio: tuple[float, float],
    size: Size,
) -> UInt8Image:
    """Average source pixels over the area that each output pixel covers.

    Output pixel `(i, j)` is the mean of the source over the rectangle whose corner is
    `(origin_x + j * ratio_x, origin_y + i * ratio_y)` and whose sides are `ratio`, each source
    pixel weighted by the share of it inside. A rectangle that overhangs the source is cut there.
    Halves are rounded up. Whole ratios at whole offsets take a quicker way with the same result.

    Args:
        image: (H, W, 3) uint8.
        origin: (x, y) of the output's corner, in source pixels, at least 0.
        ratio: source pixels per output pixel along x and y, at least 1.
        size: (width, height) of the output.

    Returns:
        (height, width, 3) uint8, rounded to nearest.

    Raises:
        ValueError: a negative origin or a ratio below 1.
    """
    if min(origin) < 0 or min(ratio) < 1 - 1e-9:
        raise ValueError(
            f"area_average reads within its source and never enlarges: {origin=}, {ratio=}"
        )
    whole = _whole_window(image, origin, ratio, size)
    if whole is not None:
        return _average_whole(whole, round(ratio[0]), round(ratio[1]))
    return _average_weighted(image, origin, ratio, size)


def _whole_window(
    image: UInt8Image, origin: tuple[float, float], ratio: tuple[float, float], size: Size
) -> UInt8Image | None:
    """Return the source pixels averaged, where every output pixel covers whole ones; else None."""
    numbers = (*origin, *ratio)
    if any(abs(n - round(n)) > 1e-9 for n in numbers) or max(ratio) > WHOLE_RATIO_LIMIT:
        return None
    x, y, rx, ry = (round(n) for n in numbers)
    right, bottom = x + rx * size.width, y + ry * size.height
    if right > image.shape[1] or bottom > image.shape[0]:
        return None
    return image[y:bottom, x:right]


def _average_whole(image: UInt8Image, rx: int, ry: int) -> UInt8Image:
    """Average blocks of (ry, rx) whole pixels, in integers."""
    height, width = image.shape[0] // ry, image.shape[1] // rx
    out = np.empty((height, width, 3), np.uint8)
    step = max(1, STRIP_PX // (image.shape[1] * ry))
    for top in range(0, height, step):
        stop = min(top + step, height)
        block = image[top * ry : stop * ry].reshape(stop - top, ry, width * rx * 3)
        rows = block[:, 0].astype(np.uint16)
        for k in range(1, ry):
            rows += block[:, k]
        columns = rows.reshape(stop - top, width, rx, 3)
        total = columns[:, :, 0].astype(np.uint32)
        for k in range(1, rx):
            total += columns[:, :, k]
        out[top:stop] = (2 * total + rx * ry) // (2 * rx * ry)
    return out


def _average_weighted(
    image: UInt8Image, origin: tuple[float, float], ratio: tuple[float, float], size: Size
) -> UInt8Image:
    """Average along y, then along x, with sparse weights, a strip of output rows at a time."""
    height, width = image.shape[:2]
    out = np.empty((size.height, size.width, 3), np.uint8)
    columns = _weights(width, origin[0], ratio[0], size.width)
    step = max(1, int(STRIP_PX / (width * ratio[1])))
    for row in range(0, size.height, step):
        count = min(step, size.height - row)
        start = origin[1] + row * ratio[1]
        top = min(math.floor(start), height - 1)
        bottom = min(height, math.ceil(start + count * ratio[1]) + 1)
        source = image[top:bottom].reshape(bottom - top, width * 3).astype(np.float32)
        rows = _weights(bottom - top, start - top, ratio[1], count)
        averaged = _along_x(columns, (rows @ source).reshape(count, width, 3))
        out[row : row + count] = np.minimum(averaged + np.float32(0.5 + TIE), 255)
    return out


def _along_x(columns: csr_array, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Apply (w, W) weights to the middle axis of (h, W, 3)."""
    height, width = rows.shape[:2]
    by_column = np.ascontiguousarray(rows.transpose(1, 0, 2)).reshape(width, height * 3)
    averaged: NDArray[np.float32] = columns @ by_column  # (w, h * 3)
    return averaged.reshape(-1, height, 3).transpose(1, 0, 2)


def _weights(length: int, origin: float, ratio: float, count: int) -> csr_array:
    """Return the (count, length) matrix whose row i averages `[origin + i * ratio, + ratio)`."""
    taps = math.ceil(ratio) + 1
    start = origin + np.arange(count, dtype=np.float64) * ratio
    stop = np.minimum(start + ratio, length)
    index = np.floor(start).astype(np.int64)[:, None] + np.arange(taps)  # (count, taps)
    overlap = np.minimum(index + 1, stop[:, None]) - np.maximum(index, start[:, None])
    overlap = np.where(index < length, np.clip(overlap, 0, 1), 0)
    overlap /= np.maximum(overlap.sum(axis=1, keepdims=True), 1e-12)
    index = np.minimum(index, length - 1)
    rows = np.repeat(np.arange(count), taps)
    data = overlap.astype(np.float32).ravel()
    return csr_array((data, (rows, index.ravel())), shape=(count, length))
