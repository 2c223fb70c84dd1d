"""Smooth noise and random numbers as functions of position alone.

Whatever is drawn at a place depends on the place and the seed, never on what was drawn before it,
so any block of a slide can be made by itself and meets its neighbours without a seam.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsikit.types import FloatArray

Coordinates = NDArray[np.floating[Any]]
"""Micrometres; pairs of them broadcast, so a column of y and a row of x make a grid."""

Hashes = NDArray[np.uint64]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def stream(seed: int, *salt: int) -> int:
    """Derive an independent 64-bit seed from a seed and any numbers that name its use."""
    value = seed & _MASK
    for word in salt:
        value = int(mix(np.array([(value + _GOLDEN * (word + 1)) & _MASK], np.uint64))[0])
    return value


def mix(values: Hashes) -> Hashes:
    """Scramble 64-bit numbers (the finaliser of splitmix64; Steele, Lea and Flood 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def hash_cells(ix: NDArray[np.int64], iy: NDArray[np.int64], seed: int) -> Hashes:
    """Give every lattice cell (ix, iy) its own 64-bit number; the arguments broadcast."""
    rows = mix(iy.astype(np.uint64) * np.uint64(_GOLDEN) + np.uint64(seed & _MASK))
    return mix(rows ^ (ix.astype(np.uint64) * np.uint64(0xD1B54A32D192ED03)))


def uniform(hashes: Hashes, index: int) -> NDArray[np.float64]:
    """Draw the `index`-th uniform number in [0, 1) that belongs to each hash."""
    offset = np.uint64((_GOLDEN * (index + 1)) & _MASK)
    return (mix(hashes + offset) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def gradient_noise(
    x_um: Coordinates, y_um: Coordinates, scale_um: float, seed: int
) -> NDArray[np.float64]:
    """Evaluate smooth noise at points or over a grid.

    Gradient noise with a quintic fade (Perlin 2002), on a lattice of hashed directions instead of
    a permutation table, so that the plane never repeats.

    Args:
        x_um: x in micrometres; broadcasts with `y_um`.
        y_um: y in micrometres.
        scale_um: size of a lattice cell, about half the size of a blob.
        seed: which noise.

    Returns:
        The broadcast shape, float64, about -1..1 with standard deviation near 0.35.
    """
    u, v = np.asarray(x_um) / scale_um, np.asarray(y_um) / scale_um
    ix, iy = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    if not (ix.size and iy.size):
        return np.zeros(np.broadcast_shapes(ix.shape, iy.shape))
    x0, y0 = int(ix.min()), int(iy.min())
    columns = np.arange(x0, int(ix.max()) + 2, dtype=np.int64)
    lines = np.arange(y0, int(iy.max()) + 2, dtype=np.int64)
    angle = uniform(hash_cells(columns[None, :], lines[:, None], seed), 0) * (2 * math.pi)
    gx, gy = np.cos(angle), np.sin(angle)
    fu, fv = u - ix, v - iy
    ix, iy = ix - x0, iy - y0
    wu, wv = _fade(fu), _fade(fv)

    def look(table: NDArray[np.float64], dx: int, dy: int) -> NDArray[np.float64]:
        if ix.ndim == 2 and ix.shape[0] == 1 and iy.shape[1] == 1:
            found = table.take(iy[:, 0] + dy, 0).take(ix[0] + dx, 1)
        else:
            found = table[iy + dy, ix + dx]
        return as_float64(found)

    def corner(dx: int, dy: int) -> Any:
        return look(gx, dx, dy) * (fu - dx) + look(gy, dx, dy) * (fv - dy)

    top = corner(0, 0)
    top = top + wu * (corner(1, 0) - top)
    bottom = corner(0, 1)
    bottom = bottom + wu * (corner(1, 1) - bottom)
    smooth: NDArray[np.float64] = (top + wv * (bottom - top)) * math.sqrt(2)
    return smooth


def fractal_noise(
    x_um: Coordinates, y_um: Coordinates, scale_um: float, seed: int, octaves: int = 2
) -> NDArray[np.float64]:
    """Sum octaves of `gradient_noise`, each half the scale and half the height of the last."""
    total = gradient_noise(x_um, y_um, scale_um, stream(seed, 0))
    for octave in range(1, octaves):
        share = 0.5**octave
        total = total + share * gradient_noise(x_um, y_um, scale_um * share, stream(seed, octave))
    return total


def _fade(t: NDArray[np.float64]) -> NDArray[np.float64]:
    return t * t * t * (t * (t * 6 - 15) + 10)


def smoothstep(low: float, high: float, values: Any) -> Any:
    """Ramp from 0 below `low` to 1 above `high`, without corners."""
    t = np.clip((values - low) * (1.0 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


def as_float64(values: Any) -> NDArray[np.float64]:
    """Return an array as float64."""
    return np.asarray(values, np.float64)


def as_float32(values: Any) -> FloatArray:
    """Return an array as float32."""
    return np.asarray(values, np.float32)
