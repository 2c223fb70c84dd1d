"""Average an image down over area, exactly, at any ratio and offset."""

from __future__ import annotations

import math

import numpy as np
from scipy.sparse import csr_array

from wsikit.types import Size, UInt8Image


def area_average(
    image: UInt8Image,
    origin: tuple[float, float],
    ratio: tuple[float, float],
    size: Size,
) -> UInt8Image:
    """Average source pixels over the area that each output pixel covers.

    Output pixel `(i, j)` is the mean of the source over
    `[origin_x + j * ratio_x, ... + ratio_x) x [origin_y + i * ratio_y, ... + ratio_y)`, each source pixel
    weighted by the share of it inside. A rectangle that overhangs the source is cut at its edge.

    Args:
        image: (H, W, 3) uint8.
        origin: (x, y) of the output's corner, in source pixels, at least 0.
        ratio: source pixels per output pixel along x and y, at least 1.
        size: (width, height) of the output.

    Returns:
        (height, width, 3) uint8, rounded to nearest.
    """
    rows = _weights(image.shape[0], origin[1], ratio[1], size.height)
    cols = _weights(image.shape[1], origin[0], ratio[0], size.width)
    height, width = image.shape[:2]
    flat = rows @ image.reshape(height, width * 3).astype(np.float32)  # (h, W * 3)
    by_col = flat.reshape(size.height, width, 3).transpose(1, 0, 2)  # (W, h, 3)
    out = cols @ np.ascontiguousarray(by_col).reshape(width, size.height * 3)  # (w, h * 3)
    averaged = out.reshape(size.width, size.height, 3).transpose(1, 0, 2)
    return np.ascontiguousarray(np.clip(averaged + 0.5, 0, 255).astype(np.uint8))


def _weights(length: int, origin: float, ratio: float, count: int) -> csr_array:
    """Return the (count, length) matrix whose row i averages `[origin + i * ratio, + ratio)`."""
    if origin < 0 or ratio < 1 - 1e-9:
        raise ValueError(
            f"area_average reads within its source and never enlarges: {origin=}, {ratio=}"
        )
    taps = math.ceil(ratio) + 1
    start = origin + np.arange(count) * ratio
    stop = np.minimum(start + ratio, length)
    index = np.floor(start).astype(np.int64)[:, None] + np.arange(taps)  # (count, taps)
    overlap = np.minimum(index + 1, stop[:, None]) - np.maximum(index, start[:, None])
    overlap = np.where(index < length, np.clip(overlap, 0, 1), 0)
    overlap /= np.maximum(overlap.sum(axis=1, keepdims=True), 1e-12)
    index = np.minimum(index, length - 1)
    rows = np.repeat(np.arange(count), taps)
    data = overlap.astype(np.float32).ravel()
    return csr_array((data, (rows, index.ravel())), shape=(count, length))
