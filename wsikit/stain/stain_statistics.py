"""What Macenko's method knows of a slide or a reference: its two stains, and how much of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wsikit.stain.json_numbers import pair, triple
from wsikit.stain.lab_statistics import rounded
from wsikit.stain.sample import GLASS_VALUE, MIN_TISSUE_PX, StainSample, Triple

TRANSPARENT = 0.15
"""A pixel whose optical density stays below this in every channel holds next to no stain."""

EXTREME = 1.0
"""The stains are the colours at this percentile of the angle and at 100 minus it."""

FULL = 99.0
"""The percentile of its amount that counts as a stain's full amount."""

MIN_ANGLE = 12.0
"""Degrees between two stains, below which they are taken for one: unmixing would be noise."""

Matrix = NDArray[np.float64]
"""(3, 3) float64, stains as columns: haematoxylin, eosin, and what is neither."""


@dataclass(frozen=True)
class StainStatistics:
    """Hold the two stains of a slide.

    Args:
        white: (R, G, B) of glass, 200..255: light that nothing absorbed.
        haematoxylin: unit vector of its optical density (base e) in R, G, B.
        eosin: the same of eosin.
        full: the `FULL` percentiles of the amounts of both.
    """

    white: Triple
    haematoxylin: Triple
    eosin: Triple
    full: tuple[float, float]

    @classmethod
    def of(cls, sample: StainSample) -> Self | None:
        """Find a slide's stains as Macenko et al. (2009) do.

        Optical densities are projected on the plane of their two main directions through the
        origin; the extreme angles in it are the stains. Departures: a pixel is transparent when
        all its channels are (with `any`, as often implemented, all pale eosin would be, because
        it lets red through); the light that counts as unabsorbed is that of the slide's glass.

        Returns:
            The stains; None where there are not two: too few pixels with stain, colours that lie
            on one line through the glass's, or a stain that is nowhere to be found.
        """
        density = optical_density(sample.pixels, sample.white)
        stained = density[density.max(axis=1, initial=0) >= TRANSPARENT]
        if len(stained) < MIN_TISSUE_PX:
            return None
        stains = _extreme_directions(stained)
        if angle_between(*stains) < MIN_ANGLE:
            return None
        amounts = density @ inverse(stain_matrix(*stains)).T
        full = np.percentile(amounts[:, :2], FULL, axis=0).round(6)
        if full.min() <= 0:
            return None
        return cls(sample.white, *stains, (float(full[0]), float(full[1])))

    def matrix(self) -> Matrix:
        """Return the stains as columns, the residual's direction third."""
        return stain_matrix(self.haematoxylin, self.eosin)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as lists."""
        return {
            "white": list(self.white),
            "haematoxylin": list(self.haematoxylin),
            "eosin": list(self.eosin),
            "full": list(self.full),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Take the fields back; see `Normaliser.from_json` for what it raises."""
        stains = triple(data["haematoxylin"], -1.01, 1.01), triple(data["eosin"], -1.01, 1.01)
        if not angle_between(*stains) >= MIN_ANGLE - 0.1:
            raise ValueError("its stains are one and the same")
        return cls(triple(data["white"], GLASS_VALUE, 255), *stains, pair(data["full"], 1e-6, 1e3))


def optical_density(pixels: NDArray[np.uint8], white: Triple) -> NDArray[np.float64]:
    """Return how much light each pixel absorbed, ln(white / value).

    Args:
        pixels: (..., 3) uint8; 0 counts as 1.
        white: (R, G, B) of unabsorbed light.

    Returns:
        (..., 3) float64, below 0 where a pixel is brighter than glass.
    """
    values = np.log(np.maximum(np.arange(256), 1))
    return np.asarray(np.log(white) - values[pixels])


def stain_matrix(haematoxylin: Triple, eosin: Triple) -> Matrix:
    """Return two stains and the direction at right angles to both, as columns."""
    residual = np.cross(haematoxylin, eosin)
    residual /= np.sqrt(np.dot(residual, residual))
    return np.stack([haematoxylin, eosin, residual], axis=1)


def inverse(matrix: Matrix) -> Matrix:
    """Return the inverse by cross products: the same on every machine."""
    first, second, third = matrix.T
    rows = np.stack([np.cross(second, third), np.cross(third, first), np.cross(first, second)])
    return np.asarray(rows / np.dot(first, rows[0]))


def angle_between(first: Triple, second: Triple) -> float:
    """Return the angle between two vectors in degrees; nan where one has no length."""
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    if lengths == 0:
        return float("nan")
    return float(np.degrees(np.arccos(np.clip(np.dot(first, second) / lengths, -1, 1))))


def _extreme_directions(density: NDArray[np.float64]) -> tuple[Triple, Triple]:
    """Return haematoxylin, which takes more of the red, and eosin, as unit vectors."""
    _, axes = np.linalg.eigh(density.T @ density / len(density))
    first, second = (_pointing_up(axes[:, column]) for column in (2, 1))
    angles = np.arctan2(density @ second, density @ first)
    low, high = np.percentile(angles, (EXTREME, 100 - EXTREME))
    ends = [rounded(np.cos(a) * first + np.sin(a) * second) for a in (low, high)]
    eosin, haematoxylin = sorted(ends, key=lambda end: end[0])
    return haematoxylin, eosin


def _pointing_up(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Choose one of an axis's two directions: an eigenvector's sign is the library's whim."""
    return -axis if axis[np.argmax(np.abs(axis))] < 0 else axis
