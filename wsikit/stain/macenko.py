"""Macenko et al. (2009): unmix a slide's two stains, and mix them again as in the reference.

Optical density is linear in stain (Beer and Lambert), so unmixing, scaling the amounts and mixing
are one 3x3 matrix a slide. Departures:

* One fit a slide, not one a patch: a patch of stroma alone does not show the slide's haematoxylin.
* What is neither stain (pigment, ink, dust) is the third axis, and is kept, not dropped, so that
  nothing is turned into a mixture of stains that it is not. It is scaled like the stain that is
  scaled least, and never up: kept whole beside stains made paler, it tinted them beige.
* Amounts are scaled by `GAIN` at most. A pale slide is not brought all the way, and its noise not
  up either.
* Where next to nothing absorbs, the matrix fades out towards glass, and glass becomes the
  reference's glass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from wsikit.compiled import compiled
from wsikit.stain.normaliser import Identity, Normaliser
from wsikit.stain.reference import Reference, needed
from wsikit.stain.sample import StainSample, Triple
from wsikit.stain.stain_statistics import (
    TRANSPARENT,
    Matrix,
    StainStatistics,
    inverse,
    optical_density,
)
from wsikit.types import FloatArray, UInt8Image

GAIN = (0.4, 2.5)
"""The least and the largest factor on the amount of a stain."""

MAX_AMPLIFICATION = 4.0
"""A slide whose matrix would enlarge some change of colour by more than this is left as it is: what
it enlarges is noise. On 112 pictures of ten laboratories and more, one came above 3.1, and it was
ruined."""

DENSITY_FROM = -0.3
"""The least optical density that is told apart; 255 on glass of 200 has -0.24."""

STEPS = 1024
"""Steps in one unit of optical density: a third of a grey value at most."""

DENSITIES = 6656
"""Steps in all; the last is black."""


@dataclass(frozen=True)
class MacenkoNormaliser(Normaliser):
    """Bring a slide's two stains to the colours and amounts of the reference's.

    Args:
        source: the slide's stains.
        reference: what they are to become.
    """

    method: ClassVar[str] = "macenko"
    needs = "stains"
    source: StainStatistics
    reference: StainStatistics

    @classmethod
    def fit(cls, sample: StainSample, reference: Reference) -> Normaliser:
        """Find the slide's stains."""
        target = needed(reference.stains, cls.method)
        source = StainStatistics.of(sample)
        if source is None:
            return Identity("macenko: the slide does not show two stains")
        fitted = cls(source, target)
        if np.linalg.norm(fitted.matrix(), 2) > MAX_AMPLIFICATION:
            return Identity("macenko: the slide's stains are too faint or too much alike")
        return fitted

    def apply(self, image: UInt8Image) -> UInt8Image:
        """Unmix, scale and mix."""
        return _remix(image, *self._tables)

    def to_json(self) -> dict[str, Any]:
        """Return both sides' stains."""
        return {
            "method": self.method,
            "source": self.source.to_json(),
            "reference": self.reference.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MacenkoNormaliser:
        """Take both sides' stains back."""
        return cls(
            StainStatistics.from_json(data["source"]), StainStatistics.from_json(data["reference"])
        )

    def matrix(self) -> Matrix:
        """Return the (3, 3) matrix on optical density, R, G, B to R, G, B."""
        amounts = np.clip(np.array(self.reference.full) / self.source.full, *GAIN)
        gains = np.array([*amounts, min(1.0, *amounts)])
        return np.asarray(
            self.reference.matrix() @ (gains[:, None] * inverse(self.source.matrix()))
        )

    @cached_property
    def _tables(self) -> tuple[FloatArray, FloatArray, NDArray[np.uint8]]:
        every = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        density = optical_density(every, self.source.white).T.astype(np.float32)
        change = (self.matrix() - np.eye(3)).astype(np.float32)
        return np.ascontiguousarray(density), change, _values(self.reference.white)


def _values(white: Triple) -> NDArray[np.uint8]:
    """Return (3, DENSITIES) uint8, the grey value at each step of optical density."""
    density = DENSITY_FROM + np.arange(DENSITIES) / STEPS
    values = np.array(white)[:, None] * np.exp(-density)
    values[:, -1] = 0
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


@compiled
def _remix(
    image: UInt8Image, density: FloatArray, change: FloatArray, values: NDArray[np.uint8]
) -> UInt8Image:
    """Add `change` times its own optical density to each pixel's, in full or, near glass, in part.

    Row by row and in three steps, so that the arithmetic between the tables runs on many pixels at
    a time.

    Args:
        image: (H, W, 3) uint8.
        density: (3, 256) float32, the optical density of each value.
        change: (3, 3) float32, the matrix less the identity.
        values: (3, DENSITIES) uint8.
    """
    height, width, _ = image.shape
    out = np.empty((height, width, 3), np.uint8)
    row = np.empty((3, width), np.float32)
    step = np.empty((3, width), np.int32)
    per_density, per_step = np.float32(1 / TRANSPARENT), np.float32(STEPS)
    start = np.float32(0.5 - DENSITY_FROM * STEPS)
    last = np.float32(DENSITIES - 1)
    for y in range(height):
        for x in range(width):
            row[0, x] = density[0, image[y, x, 0]]
            row[1, x] = density[1, image[y, x, 1]]
            row[2, x] = density[2, image[y, x, 2]]
        for x in range(width):
            red, green, blue = row[0, x], row[1, x], row[2, x]
            most = red if red > green else green
            share = (most if most > blue else blue) * per_density
            share = share if share > np.float32(0) else np.float32(0)
            share = share if share < np.float32(1) else np.float32(1)
            for c in range(3):
                added = change[c, 0] * red + change[c, 1] * green + change[c, 2] * blue
                at = (row[c, x] + share * added) * per_step + start
                at = at if at > np.float32(0) else np.float32(0)
                step[c, x] = np.int32(at if at < last else last)
        for x in range(width):
            out[y, x, 0] = values[0, np.uint32(step[0, x])]
            out[y, x, 1] = values[1, np.uint32(step[1, x])]
            out[y, x, 2] = values[2, np.uint32(step[2, x])]
    return out
