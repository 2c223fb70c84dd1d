"""Where the tissue and the tumour of a phantom lie, as functions of physical position.

Both outlines are level sets of functions of (x, y) in micrometres. The pixels are drawn from these
functions and the truth is read from them, so the truth is exact at every resolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsikit.phantoms.noise import Coordinates, fractal_noise, gradient_noise, stream
from wsikit.phantoms.spec import PhantomSpec

Signed = NDArray[np.float64]
"""Signed depth in micrometres, about the distance to an outline; positive inside."""

FAR_UM = -1e4
"""Depth of a place that is nowhere near the region."""

PIECE_UM = 9000.0
"""Largest pitch of tissue pieces: a wider slide carries more of them."""

TUMOUR_SHARE = (0.20, 0.36)
"""Range from which a tumour slide's share of tumour in its tissue is drawn, where none is given."""

SURVEY_POINTS = 320
"""Grid points along the longer side when the share of tumour is set."""


class Piece(NamedTuple):
    """One piece of tissue: a rounded, turned box.

    Attributes:
        x: centre in micrometres.
        y: centre in micrometres.
        a: half axis along the piece's own x, in micrometres.
        b: half axis along the piece's own y, in micrometres.
        angle: turn in radians.
    """

    x: float
    y: float
    a: float
    b: float
    angle: float


@dataclass(frozen=True)
class Regions:
    """Tell how deep inside tissue or tumour any place lies.

    Args:
        seed: the slide's seed.
        pieces: tissue pieces.
        foci: tumour centres and shapes; none on a slide without tumour.
        reach_um: how far beyond a focus's half axes its tumour grows, in micrometres; this sets
            the tumour's share of the tissue.
    """

    seed: int
    pieces: tuple[Piece, ...]
    foci: tuple[Piece, ...] = ()
    reach_um: float = 0.0

    def tissue(self, x_um: Coordinates, y_um: Coordinates) -> Signed:
        """Return the depth inside tissue at points or over a broadcast grid."""
        shape = np.broadcast_shapes(np.shape(x_um), np.shape(y_um))
        depth = np.full(shape, FAR_UM)
        near = [piece for piece in self.pieces if _touches(piece, x_um, y_um)]
        if not near or not depth.size:
            return depth
        for piece in near:
            np.maximum(depth, _depth(piece, x_um, y_um, power=2.6), out=depth)
        short = min(min(piece.a, piece.b) for piece in self.pieces)
        depth += 0.26 * short * fractal_noise(x_um, y_um, 0.8 * short, stream(self.seed, 1))
        ragged = min(16.0, 0.1 * short)
        depth += ragged * fractal_noise(x_um, y_um, 80.0, stream(self.seed, 2))
        depth += 0.19 * ragged * gradient_noise(x_um, y_um, 13.0, stream(self.seed, 3))
        return depth

    def tumour(self, x_um: Coordinates, y_um: Coordinates) -> Signed:
        """Return the depth inside tumour, whether or not there is tissue."""
        shape = np.broadcast_shapes(np.shape(x_um), np.shape(y_um))
        if not self.foci:
            return np.full(shape, FAR_UM)
        return self._growth(x_um, y_um) + self.reach_um

    def is_tumour(self, x_um: Coordinates, y_um: Coordinates) -> NDArray[np.bool_]:
        """Tell where tumour tissue is: the truth."""
        inside = self.tumour(x_um, y_um) > 0
        if inside.any():
            inside &= self.tissue(x_um, y_um) > 0
        return inside

    def _growth(self, x_um: Coordinates, y_um: Coordinates) -> Signed:
        depth = np.full(np.broadcast_shapes(np.shape(x_um), np.shape(y_um)), FAR_UM * 10)
        for focus in self.foci:
            np.maximum(depth, _depth(focus, x_um, y_um, power=2.0), out=depth)
        size = max(max(focus.a, focus.b) for focus in self.foci)
        depth += 0.45 * size * fractal_noise(x_um, y_um, 1.1 * size, stream(self.seed, 4))
        return depth


def _depth(piece: Piece, x_um: Coordinates, y_um: Coordinates, power: float) -> Signed:
    dx, dy = np.asarray(x_um) - piece.x, np.asarray(y_um) - piece.y
    cos, sin = math.cos(piece.angle), math.sin(piece.angle)
    u = np.abs(dx * cos + dy * sin) / piece.a
    v = np.abs(dy * cos - dx * sin) / piece.b
    radius = (u**power + v**power) ** (1 / power) if power != 2 else np.sqrt(u * u + v * v)
    depth: Signed = (1 - radius) * min(piece.a, piece.b)
    return depth


def _touches(piece: Piece, x_um: Coordinates, y_um: Coordinates) -> bool:
    """Tell whether a piece can matter here: outside twice its size it never does."""
    if not (np.size(x_um) and np.size(y_um)):
        return False
    reach = 2 * max(piece.a, piece.b)
    return bool(
        np.min(x_um) < piece.x + reach
        and np.max(x_um) > piece.x - reach
        and np.min(y_um) < piece.y + reach
        and np.max(y_um) > piece.y - reach
    )


@lru_cache(maxsize=16)
def regions_of(spec: PhantomSpec) -> Regions:
    """Lay out a slide's tissue and tumour."""
    rng = np.random.default_rng([spec.seed & ((1 << 64) - 1), 11])
    bare = Regions(spec.seed, _pieces(spec, rng))
    if not spec.tumour:
        return bare
    return _with_tumour(spec, bare, rng)


def _pieces(spec: PhantomSpec, rng: np.random.Generator) -> tuple[Piece, ...]:
    width, height = spec.size_um
    columns, rows = max(1, round(width / PIECE_UM)), max(1, round(height / PIECE_UM))
    if columns == rows == 1 and rng.random() < 0.4:
        columns, rows = (2, 1) if width >= height else (1, 2)
    pitch_x, pitch_y = width / columns, height / rows
    return tuple(
        Piece(
            x=(column + 0.5 + rng.uniform(-0.03, 0.03)) * pitch_x,
            y=(row + 0.5 + rng.uniform(-0.03, 0.03)) * pitch_y,
            a=pitch_x * rng.uniform(0.36, 0.42),
            b=pitch_y * rng.uniform(0.36, 0.42),
            angle=rng.uniform(-0.12, 0.12),
        )
        for row in range(rows)
        for column in range(columns)
    )


def _with_tumour(spec: PhantomSpec, bare: Regions, rng: np.random.Generator) -> Regions:
    """Grow one to three foci together until they hold their share of the tissue."""
    width, height = spec.size_um
    across, down = (
        max(SURVEY_POINTS // 5, round(SURVEY_POINTS * side / max(width, height)))
        for side in (width, height)
    )
    x = (np.arange(across) + 0.5)[None, :] * (width / across)
    y = (np.arange(down) + 0.5)[:, None] * (height / down)
    depth = bare.tissue(x, y)
    inside = depth > 0
    if not inside.any():
        return bare
    drawn = rng.uniform(*TUMOUR_SHARE)
    share = drawn if spec.tumour_share is None else spec.tumour_share
    count = int(rng.integers(1, 4))
    area = share * float(inside.mean()) * width * height
    size = math.sqrt(area / math.pi / count)
    deep = np.argwhere(depth > 0.45 * depth.max())
    foci = []
    for row, column in rng.choice(deep, size=count):
        stretch = rng.uniform(0.8, 1.25)
        foci.append(
            Piece(
                x=float(x[0, column]),
                y=float(y[row, 0]),
                a=size * stretch * rng.uniform(0.8, 1.2),
                b=size / stretch * rng.uniform(0.8, 1.2),
                angle=rng.uniform(0, math.pi),
            )
        )
    seedling = Regions(bare.seed, bare.pieces, tuple(foci))
    growth = np.sort(seedling._growth(x, y)[inside])
    edge = growth[int((1 - share) * (growth.size - 1))]
    return Regions(bare.seed, bare.pieces, tuple(foci), float(-edge))
