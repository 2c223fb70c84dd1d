"""The slowly varying properties of tissue, worked out on a coarse grid that is tied to the slide.

The grid's nodes lie at whole multiples of `step` pixels from the slide's corner whatever block is
drawn, and pixels lie between nodes, so a block's values do not depend on its borders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsikit.phantoms.noise import (
    Coordinates,
    as_float32,
    fractal_noise,
    gradient_noise,
    hash_cells,
    smoothstep,
    stream,
    uniform,
)
from wsikit.phantoms.regions import FAR_UM, regions_of
from wsikit.phantoms.spec import PhantomSpec
from wsikit.types import FloatArray, Mpp

NODE_UM = 4.3
"""Widest spacing of nodes."""

FOLD_PITCH_UM = 1300.0
"""There is room for one fold in every square of this side."""

FOLD_CHANCE = 0.7
"""Share of those places that hold one."""


@dataclass(frozen=True)
class PixelBox:
    """A rectangle of whole level-0 pixels.

    Attributes:
        x: left edge.
        y: top edge.
        width: pixels across.
        height: pixels down.
    """

    x: int
    y: int
    width: int
    height: int

    def grown(self, by_x: int, by_y: int) -> PixelBox:
        """Return the box with a margin on all sides."""
        return PixelBox(self.x - by_x, self.y - by_y, self.width + 2 * by_x, self.height + 2 * by_y)


@dataclass(frozen=True)
class Nodes:
    """A piece of the coarse grid.

    Attributes:
        step: level-0 pixels between nodes, a power of two.
        column: index of the first column of nodes; it lies at pixel `column * step`.
        row: index of the first row.
        shape: (rows, columns) of nodes.
    """

    step: int
    column: int
    row: int
    shape: tuple[int, int]

    @classmethod
    def around(cls, box: PixelBox, mpp: Mpp) -> Nodes:
        """Return the nodes whose cells hold every pixel of a box."""
        step = 2 ** max(0, min(4, math.floor(math.log2(NODE_UM / max(mpp)))))
        column, row = box.x // step, box.y // step
        last_column = (box.x + box.width - 1) // step + 1
        last_row = (box.y + box.height - 1) // step + 1
        return cls(step, column, row, (last_row - row + 1, last_column - column + 1))

    def places_um(self, mpp: Mpp) -> tuple[Coordinates, Coordinates]:
        """Return x (1, columns) and y (rows, 1) in micrometres."""
        x = (self.column + np.arange(self.shape[1])) * (self.step * mpp.x)
        y = (self.row + np.arange(self.shape[0])) * (self.step * mpp.y)
        return x[None, :], y[:, None]

    def upsample(self, values: FloatArray, box: PixelBox) -> FloatArray:
        """Interpolate node values bilinearly at the pixels of a box inside the grid.

        Only element-wise float32 arithmetic, so that a pixel's value is the same in every block.
        """
        weight = as_float32((np.arange(self.step) + 0.5) / self.step)
        left, first = box.x // self.step - self.column, box.x % self.step
        count = (first + box.width - 1) // self.step + 1
        top, skip = box.y // self.step - self.row, box.y % self.step
        lines = (skip + box.height - 1) // self.step + 1
        part = values[top : top + lines + 1, left : left + count + 1]
        # Along x first, while there are few rows; the long inner loops are then along y.
        wide = part[:, :-1, None] + np.diff(part)[:, :, None] * weight
        wide = wide.reshape(lines + 1, -1)[:, first : first + box.width]
        tall = np.diff(wide, axis=0)[:, None, :] * weight[None, :, None]
        tall += wide[:-1, None, :]
        return tall.reshape(-1, box.width)[skip : skip + box.height]

    def nearest(
        self, values: FloatArray, x_px: NDArray[np.int64], y_px: NDArray[np.int64]
    ) -> FloatArray:
        """Look node values up for pixels, at the node nearest to each."""
        half = self.step // 2
        columns = np.clip((x_px + half) // self.step - self.column, 0, self.shape[1] - 1)
        rows = np.clip((y_px + half) // self.step - self.row, 0, self.shape[0] - 1)
        return values[rows, columns]


@dataclass(frozen=True)
class Fields:
    """What the tissue is like at each node; all (rows, columns) float32.

    Attributes:
        nodes: where the nodes lie.
        tissue: depth inside tissue in micrometres, negative on glass.
        nest: depth inside nests of tumour cells in micrometres, negative elsewhere.
        fat: how far, in micrometres, a fat vacuole stays off the walls of its cell.
        lobule: above 0 where glands lie.
        cross: 0 where fibres lie, 1 where they stand upright.
        thickness: optical thickness of the section, about 1; near 2 in folds.
        warmth: how pink the stroma is, about 1.
    """

    nodes: Nodes
    tissue: FloatArray
    nest: FloatArray
    fat: FloatArray
    lobule: FloatArray
    cross: FloatArray
    thickness: FloatArray
    warmth: FloatArray


def tissue_at(spec: PhantomSpec, nodes: Nodes) -> FloatArray:
    """Return the depth inside tissue at nodes, in micrometres."""
    return as_float32(regions_of(spec).tissue(*nodes.places_um(spec.mpp)))


def fields_at(spec: PhantomSpec, nodes: Nodes, tissue: FloatArray) -> Fields:
    """Work out every field of tissue.

    Args:
        spec: the slide.
        nodes: where.
        tissue: what `tissue_at` gave for these nodes.
    """
    x, y = nodes.places_um(spec.mpp)
    seed = spec.seed
    tumour = regions_of(spec).tumour(x, y)
    nest = np.full(nodes.shape, FAR_UM)
    if (tumour > -50).any():
        nest = np.minimum(tumour, 42 * (fractal_noise(x, y, 95.0, stream(seed, 20)) + 0.34))
    fat = fractal_noise(x, y, 230.0, stream(seed, 21)) - 0.44 - 0.08 * smoothstep(-60, 60, tumour)
    lobule = gradient_noise(x, y, 330.0, stream(seed, 22)) - 0.04
    lobule -= 4 * np.maximum(0, fat + 0.12) + 0.1 * (tissue < 25)
    thickness = 1 + 0.16 * fractal_noise(x, y, 420.0, stream(seed, 24))
    thickness += 0.20 * np.clip(1 - tissue / 14, 0, 1) + _folds(spec, x, y)
    warmth = 1 + 0.22 * fractal_noise(x, y, 160.0, stream(seed, 25))
    return Fields(
        nodes=nodes,
        tissue=tissue,
        nest=as_float32(nest),
        fat=as_float32(0.8 + 150 * np.maximum(0, 0.16 - fat) ** 1.5),
        lobule=as_float32(lobule),
        cross=as_float32(smoothstep(-0.12, 0.12, gradient_noise(x, y, 240.0, stream(seed, 23)))),
        thickness=as_float32(thickness),
        warmth=as_float32(warmth),
    )


def _folds(spec: PhantomSpec, x: Coordinates, y: Coordinates) -> NDArray[np.float64]:
    """Return the extra thickness that folds give, 0 to about 1."""
    extra = np.zeros(np.broadcast_shapes(x.shape, y.shape))
    seed, pitch, reach = stream(spec.seed, 26), FOLD_PITCH_UM, 300.0
    columns = np.arange(math.floor((x.min() - reach) / pitch), (x.max() + reach) // pitch + 1)
    rows = np.arange(math.floor((y.min() - reach) / pitch), (y.max() + reach) // pitch + 1)
    for row in rows.astype(np.int64):
        for column in columns.astype(np.int64):
            cell = hash_cells(np.array([column]), np.array([row]), seed)
            draw = [float(uniform(cell, index)[0]) for index in range(7)]
            if draw[0] > FOLD_CHANCE:
                continue
            middle_x, middle_y = (column + draw[1]) * pitch, (row + draw[2]) * pitch
            half_length, half_width = 70 + 170 * draw[3], 5 + 6 * draw[4]
            if not (
                abs(x - middle_x).min() < half_length + 60
                and abs(y - middle_y).min() < half_length + 60
            ):
                continue
            turn = math.pi * draw[5]
            along = (x - middle_x) * math.cos(turn) + (y - middle_y) * math.sin(turn)
            across = (y - middle_y) * math.cos(turn) - (x - middle_x) * math.sin(turn)
            across = across + 22 * np.sin(along / (45 + 40 * draw[6]))
            taper = np.clip(1 - (along / half_length) ** 2, 0, 1)
            extra += (
                0.95
                * smoothstep(-3.5, 3.5, half_width * np.sqrt(taper) - np.abs(across))
                * (taper > 0)
            )
    return extra
