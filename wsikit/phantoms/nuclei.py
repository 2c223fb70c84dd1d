"""Ready-made pictures of nuclei and glands, to be stamped into the tissue.

A stamp holds haematoxylin in 1/`HAEMATOXYLIN_STEPS` units of the stain, drawn in micrometres and
sampled at the slide's mpp, so that a round nucleus is round where mpp x differs from y.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsikit.phantoms.noise import as_float32, smoothstep
from wsikit.phantoms.textures import textures_for
from wsikit.types import FloatArray, Mpp

HAEMATOXYLIN_STEPS = 160
"""Stamp value of one unit of haematoxylin."""

ANGLE_BINS = 16
"""Directions, over half a turn, in which spindle nuclei are kept."""

Stamp = NDArray[np.uint8]
"""(h, w) uint8; haematoxylin of one nucleus, 0 outside it."""


class NucleusKind(NamedTuple):
    """What the nuclei of one kind of cell look like.

    Attributes:
        length_um: shortest and longest long axis.
        aspect: smallest and largest ratio of short to long axis.
        stain: palest and darkest haematoxylin, in units.
        bumps: depth of the outline's dents, as a share of the radius.
        clumps: contrast of the chromatin.
        rim: how much darker the membrane is.
        nucleoli: most nucleoli.
    """

    length_um: tuple[float, float]
    aspect: tuple[float, float]
    stain: tuple[float, float]
    bumps: float
    clumps: float
    rim: float
    nucleoli: int


SPINDLE = NucleusKind((9.0, 17.0), (0.14, 0.34), (0.6, 1.05), 0.07, 0.14, 0.1, 0)
EPITHELIAL = NucleusKind((6.5, 8.5), (0.72, 0.95), (0.62, 0.82), 0.03, 0.10, 0.15, 0)
LYMPHOCYTE = NucleusKind((4.8, 6.2), (0.86, 1.0), (1.05, 1.3), 0.03, 0.16, 0.1, 0)
TUMOUR = NucleusKind((7.0, 16.0), (0.55, 0.95), (0.20, 0.52), 0.11, 0.32, 0.8, 3)
MITOSIS = NucleusKind((8.0, 12.0), (0.25, 0.5), (1.1, 1.4), 0.28, 0.1, 0.0, 0)


@dataclass(frozen=True)
class Gland:
    """One round gland cut across: three (h, w) uint8 layers.

    Attributes:
        nuclei: haematoxylin, as in a `Stamp`.
        cytoplasm: 0..255, how much of the place is the gland's own.
        lumen: 0..255, how empty the place is.
    """

    nuclei: Stamp
    cytoplasm: Stamp
    lumen: Stamp


@dataclass(frozen=True)
class Stamps:
    """Every stamp of one mpp.

    Attributes:
        spindle: `ANGLE_BINS` directions, each with several nuclei.
        lymphocyte: inflammatory nuclei.
        tumour: tumour nuclei, some of them dividing.
        glands: glands of several sizes.
        nucleus_margin_px: (x, y) half the largest nucleus, rounded up.
        gland_margin_px: (x, y) half the largest gland, rounded up.
    """

    spindle: tuple[tuple[Stamp, ...], ...]
    lymphocyte: tuple[Stamp, ...]
    tumour: tuple[Stamp, ...]
    glands: tuple[Gland, ...]
    nucleus_margin_px: tuple[int, int]
    gland_margin_px: tuple[int, int]


@lru_cache(maxsize=2)
def stamps_for(mpp: Mpp) -> Stamps:
    """Draw the stamps of an mpp, always the same."""
    rng = np.random.default_rng(20240608)
    pen = _Pen(mpp, textures_for(mpp).grain, rng)
    spindle = tuple(
        tuple(pen.nucleus(SPINDLE, math.pi * bin_ / ANGLE_BINS) for _ in range(6))
        for bin_ in range(ANGLE_BINS)
    )
    tumour = [pen.nucleus(TUMOUR) for _ in range(154)] + [pen.nucleus(MITOSIS) for _ in range(6)]
    lymphocyte = tuple(pen.nucleus(LYMPHOCYTE) for _ in range(40))
    glands = tuple(pen.gland() for _ in range(28))
    nuclei = [*tumour, *lymphocyte, *(stamp for bin_ in spindle for stamp in bin_)]
    return Stamps(
        spindle=spindle,
        lymphocyte=lymphocyte,
        tumour=tuple(tumour),
        glands=glands,
        nucleus_margin_px=_margin(nuclei),
        gland_margin_px=_margin([gland.nuclei for gland in glands]),
    )


def _margin(stamps: Sequence[Stamp]) -> tuple[int, int]:
    height, width = np.max([stamp.shape for stamp in stamps], axis=0)
    return (int(width) // 2 + 1, int(height) // 2 + 1)


class _Pen:
    """Draw stamps at one mpp."""

    def __init__(self, mpp: Mpp, grain: FloatArray, rng: np.random.Generator) -> None:
        self.mpp, self.grain, self.rng = mpp, grain, rng
        # The optics' blur, but never sharper than the pixels can show.
        self.soft_um = max(0.55, 0.75 * max(mpp))

    def canvas(self, radius_um: float) -> tuple[FloatArray, FloatArray]:
        """Return x (1, w) and y (h, 1) in micrometres from a place near the middle."""
        half_x = math.ceil((radius_um + self.soft_um) / self.mpp.x) + 1
        half_y = math.ceil((radius_um + self.soft_um) / self.mpp.y) + 1
        off_x, off_y = self.rng.uniform(-0.5, 0.5, 2)
        x = (np.arange(-half_x, half_x + 1) + off_x) * self.mpp.x
        y = (np.arange(-half_y, half_y + 1) + off_y) * self.mpp.y
        return x[None, :], y[:, None]

    def nucleus(self, kind: NucleusKind, angle: float | None = None) -> Stamp:
        """Draw one nucleus, at a random angle unless one is given."""
        rng = self.rng
        half = rng.uniform(*kind.length_um) / 2
        x, y = self.canvas(half * (1 + 2 * kind.bumps))
        turn = rng.uniform(0, math.pi) if angle is None else angle + rng.normal(0, 0.06)
        return self.on_canvas(kind, x, y, half, turn)

    def on_canvas(
        self, kind: NucleusKind, x: FloatArray, y: FloatArray, half: float, turn: float
    ) -> Stamp:
        """Draw a nucleus of half axis `half` um, turned by `turn`, about the origin."""
        rng = self.rng
        short = half * rng.uniform(*kind.aspect)
        u = (x * math.cos(turn) + y * math.sin(turn)) / half
        v = (y * math.cos(turn) - x * math.sin(turn)) / short
        radius, theta = np.hypot(u, v), np.arctan2(v, u)
        outline = np.ones_like(radius)
        for wave in (2, 3, 4):
            height = kind.bumps * rng.uniform(0.2, 1) * 2 / wave
            outline += height * np.cos(wave * theta + rng.uniform(0, 2 * math.pi))
        depth = (outline - radius) * math.sqrt(half * short) * 0.9
        stain = 1 + kind.clumps * self.chromatin(radius.shape)
        stain += kind.rim * np.exp(-((depth / 0.8) ** 2))
        for _ in range(int(rng.integers(0, kind.nucleoli + 1))):
            place, where = rng.uniform(0, 0.5), rng.uniform(0, 2 * math.pi)
            du, dv = (u - place * math.cos(where)) * half, (v - place * math.sin(where)) * short
            stain += rng.uniform(0.9, 1.5) * np.exp(-(du * du + dv * dv) / rng.uniform(0.5, 1.3))
        stain *= rng.uniform(*kind.stain) * smoothstep(-self.soft_um, self.soft_um, depth)
        return np.asarray(np.clip(stain * HAEMATOXYLIN_STEPS, 0, 255), np.uint8)

    def chromatin(self, shape: tuple[int, ...]) -> FloatArray:
        """Cut a random piece of the grain."""
        side = self.grain.shape[0]
        top, left = self.rng.integers(0, side, 2)
        rows, columns = (top + np.arange(shape[0])) % side, (left + np.arange(shape[1])) % side
        return as_float32(self.grain[rows[:, None], columns[None, :]])

    def gland(self) -> Gland:
        """Draw a ring of cells about a lumen."""
        rng = self.rng
        outer = rng.uniform(19, 36)
        lumen = outer - rng.uniform(12, 15)
        x, y = self.canvas(outer * 1.3)
        waves = [(wave, rng.uniform(0, 0.16) / wave, rng.uniform(0, 6.3)) for wave in (2, 3, 5)]
        theta = np.arctan2(y, x)
        reach = np.hypot(x, y) / (1 + sum(h * np.cos(w * theta + p) for w, h, p in waves))
        soft = 1.5 * self.soft_um
        ragged = 0.9 * self.chromatin(reach.shape)
        empty = smoothstep(-soft, soft, lumen - reach + ragged)
        wall = smoothstep(-soft, soft, outer - reach)
        # Some glands hold secretion.
        empty *= rng.choice([1.0, 1.0, 0.72])
        nuclei = np.zeros(reach.shape, np.uint8)
        count = max(6, round(2 * math.pi * (outer - 4.5) / 7.2))
        for angle in (np.arange(count) + rng.uniform(-0.25, 0.25, count)) * 2 * math.pi / count:
            ring = outer - rng.uniform(4.2, 6.2)
            ring *= 1 + sum(h * math.cos(w * angle + p) for w, h, p in waves)
            self.add(nuclei, x - ring * math.cos(angle), y - ring * math.sin(angle), angle)
        return Gland(nuclei, (wall * 255).astype(np.uint8), (empty * 255).astype(np.uint8))

    def add(self, nuclei: Stamp, x: FloatArray, y: FloatArray, angle: float) -> None:
        """Add one epithelial nucleus that points along `angle` to a gland's nuclei."""
        half = self.rng.uniform(*EPITHELIAL.length_um) / 2
        near = half + 2 * self.soft_um + 1
        columns = np.flatnonzero(np.abs(x[0]) < near)
        rows = np.flatnonzero(np.abs(y[:, 0]) < near)
        if not (columns.size and rows.size):
            return
        window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        stamp = self.on_canvas(EPITHELIAL, x[:, window[1]], y[window[0]], half, angle)
        np.maximum(nuclei[window], stamp, out=nuclei[window])
