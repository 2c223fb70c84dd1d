"""Seamlessly repeating textures from which tissue is mixed: fibres, fat, grain, camera noise.

They are made once for an mpp, by filtering white noise in the frequency domain (frequencies in
cycles per micrometre, so features keep their shape where mpp x differs from y), and repeat every
`side` pixels. Slowly varying fields mix them, so the repetition does not show.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from wsikit.phantoms.noise import as_float32, smoothstep
from wsikit.types import FloatArray, Mpp

PERIOD_UM = 512.0
"""Wanted period of the textures; the true one is a power of two in pixels."""

FAT_CELL_UM = 62.0
"""Mean distance between the middles of neighbouring fat cells."""


@dataclass(frozen=True)
class Textures:
    """Hold the textures of one mpp; all are (side, side) and repeat.

    Attributes:
        side: period in pixels.
        fibres: two fields of collagen density, 0 (cleft) to 1, one lying, one upright.
        angles: the fibres' direction at every pixel, radians in physical space.
        wall_um: half the way from the nearest fat cell's border, in micrometres, and so 0 on the
            walls between fat cells.
        grain: protein granules, mean 0, standard deviation 1.
        cloud: unevenness of cytoplasm from cell to cell, mean 0, standard deviation 1.
        camera: noise of the camera, mean 0, standard deviation 1.
    """

    side: int
    fibres: tuple[FloatArray, FloatArray]
    angles: tuple[FloatArray, FloatArray]
    wall_um: FloatArray
    grain: FloatArray
    cloud: FloatArray
    camera: FloatArray


@lru_cache(maxsize=2)
def textures_for(mpp: Mpp) -> Textures:
    """Make the textures of an mpp, always the same."""
    side = 2 ** max(8, min(11, round(math.log2(PERIOD_UM / math.sqrt(mpp.x * mpp.y)))))
    rng = np.random.default_rng(20240607)
    lying, lying_angle = _fibres(rng, side, mpp)
    upright, upright_angle = _fibres(rng, side, Mpp(mpp.y, mpp.x))
    turned = np.float32(math.pi / 2) - upright_angle.T
    return Textures(
        side=side,
        fibres=(lying, np.ascontiguousarray(upright.T)),
        angles=(lying_angle, np.ascontiguousarray(turned)),
        wall_um=_fat_walls(rng, side, mpp),
        grain=_filtered(rng, side, mpp, 1.1, 1.1),
        cloud=_cloud(rng, side, mpp),
        camera=as_float32(rng.standard_normal((side, side))),
    )


def _filtered(
    rng: np.random.Generator, side: int, mpp: Mpp, width_um: float, height_um: float
) -> FloatArray:
    """Blur white noise to a correlation of (width, height) um; mean 0, standard deviation 1."""
    fx = np.fft.rfftfreq(side, mpp.x)[None, :]
    fy = np.fft.fftfreq(side, mpp.y)[:, None]
    gain = np.exp(-2 * ((fx * width_um) ** 2 + (fy * height_um) ** 2))
    gain[0, 0] = 0
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) * gain, (side, side))
    return as_float32(noise / noise.std())


def _cloud(rng: np.random.Generator, side: int, mpp: Mpp) -> FloatArray:
    mixed = _filtered(rng, side, mpp, 7.0, 7.0) + 0.8 * _filtered(rng, side, mpp, 2.2, 2.2)
    return as_float32(mixed / mixed.std())


def _fibres(rng: np.random.Generator, side: int, mpp: Mpp) -> tuple[FloatArray, FloatArray]:
    """Make wavy fibres that lie along x: their density and their direction."""
    bundles = _filtered(rng, side, mpp, 60.0, 4.2)
    fibrils = _filtered(rng, side, mpp, 26.0, 1.4)
    swing = 13.0 * _filtered(rng, side, mpp, 90.0, 70.0)
    crimp = 1.4 * _filtered(rng, side, mpp, 14.0, 40.0)
    shift = swing + crimp
    rows, columns = np.indices((side, side), np.float32)
    places = (rows + shift / np.float32(mpp.y), columns)
    straight = 0.66 * bundles + 0.52 * fibrils
    wavy = map_coordinates(straight, places, order=1, mode="grid-wrap")
    slope_x = (np.roll(swing, -1, 1) - np.roll(swing, 1, 1)) / (2 * mpp.x)
    slope_y = (np.roll(swing, -1, 0) - np.roll(swing, 1, 0)) / (2 * mpp.y)
    angle = np.arctan2(-slope_x, np.maximum(1 + slope_y, 0.2))
    return as_float32(smoothstep(-1.5, 1.3, wavy)), as_float32(angle)


def _fat_walls(rng: np.random.Generator, side: int, mpp: Mpp) -> FloatArray:
    """Measure how far each pixel lies from the walls of randomly packed cells."""
    period = (side * mpp.x, side * mpp.y)
    across, down = (max(2, round(length / FAT_CELL_UM)) for length in period)
    jitter = rng.uniform(0.12, 0.88, (down, across, 2))
    middles = (np.indices((down, across))[::-1].transpose(1, 2, 0) + jitter) / (across, down)
    tree = cKDTree(middles.reshape(-1, 2) * period, boxsize=period)
    coarse = max(1, side // 256)
    small = side // coarse
    at = (np.indices((small, small))[::-1].transpose(1, 2, 0) * coarse) * (mpp.x, mpp.y)
    nearest = tree.query(at.reshape(-1, 2), k=2)[0]
    wall = ((nearest[:, 1] - nearest[:, 0]) / 2).reshape(small, small)
    fine: NDArray[np.float64] = np.indices((side, side), np.float32) / coarse
    return as_float32(map_coordinates(wall, fine, order=1, mode="grid-wrap"))
