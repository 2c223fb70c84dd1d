"""Put nuclei and glands where they belong.

Every kind of cell has a jittered lattice over the whole slide. What stands at a lattice place
follows from the place's hash and from the tissue there, so blocks agree about the cells they share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from wsikit.phantoms.fields import Fields, PixelBox
from wsikit.phantoms.noise import Hashes, hash_cells, stream, uniform
from wsikit.phantoms.nuclei import ANGLE_BINS, Stamp, Stamps
from wsikit.phantoms.regions import regions_of
from wsikit.phantoms.spec import PhantomSpec
from wsikit.phantoms.textures import Textures
from wsikit.types import Mpp

T = TypeVar("T")

TUMOUR_PITCH_UM = 12.0
STROMA_PITCH_UM = 19.0
GLAND_PITCH_UM = 74.0
LYMPHOCYTE_PITCH_UM = 7.2
CLUSTER_PITCH_UM = 420.0
"""Distances between lattice places of each kind, in micrometres."""

CLUSTER_CHANCE = 0.42
"""Share of places for a cluster of lymphocytes that hold one, in tumour and elsewhere alike."""


@dataclass(frozen=True)
class Layers:
    """What cells leave on a block; all (h, w) uint8.

    Attributes:
        nuclei: haematoxylin, in steps of `HAEMATOXYLIN_STEPS` a unit.
        cytoplasm: share of gland, 0..255.
        lumen: how empty, 0..255.
    """

    nuclei: NDArray[np.uint8]
    cytoplasm: NDArray[np.uint8]
    lumen: NDArray[np.uint8]


@dataclass(frozen=True)
class _Places:
    """Lattice places: hashes and positions, in micrometres and in whole pixels, each (N,)."""

    hashes: Hashes
    x_um: NDArray[np.float64]
    y_um: NDArray[np.float64]
    x: NDArray[np.int64]
    y: NDArray[np.int64]

    def where(self, keep: NDArray[np.bool_]) -> _Places:
        return _Places(
            self.hashes[keep], self.x_um[keep], self.y_um[keep], self.x[keep], self.y[keep]
        )


def _places(box: PixelBox, mpp: Mpp, pitch_um: float, seed: int, jitter: float) -> _Places:
    """Return the lattice places whose pixel lies in a box, in row order."""
    first_x = math.floor(box.x * mpp.x / pitch_um) - 1
    first_y = math.floor(box.y * mpp.y / pitch_um) - 1
    last_x = math.floor((box.x + box.width) * mpp.x / pitch_um) + 2
    last_y = math.floor((box.y + box.height) * mpp.y / pitch_um) + 2
    ix = np.arange(first_x, last_x, dtype=np.int64)[None, :]
    iy = np.arange(first_y, last_y, dtype=np.int64)[:, None]
    hashes = hash_cells(ix, iy, seed)
    # Rows are staggered, as closely packed cells are.
    x_um = (ix + 0.5 * (iy % 2) + jitter * (uniform(hashes, 0) - 0.5)) * pitch_um
    y_um = (iy + 0.5 + jitter * (uniform(hashes, 1) - 0.5)) * pitch_um
    x, y = np.floor(x_um / mpp.x).astype(np.int64), np.floor(y_um / mpp.y).astype(np.int64)
    inside = (x >= box.x) & (x < box.x + box.width) & (y >= box.y) & (y < box.y + box.height)
    return _Places(hashes[inside], x_um[inside], y_um[inside], x[inside], y[inside])


def draw_cells(
    spec: PhantomSpec, box: PixelBox, fields: Fields, stamps: Stamps, textures: Textures
) -> Layers:
    """Stamp every nucleus and gland that reaches into a box.

    Args:
        spec: the slide.
        box: the block.
        fields: the tissue; its nodes cover the box and the margin of a gland about it.
        stamps: stamps of the slide's mpp.
        textures: textures of the slide's mpp; spindle nuclei follow its fibres.
    """
    canvas = _Canvas(spec, box, fields, stamps)
    canvas.spindles(textures)
    canvas.tumour()
    canvas.glands()
    canvas.lymphocytes()
    return canvas.layers()


class _Canvas:
    """A block with room about it, so that no stamp needs cutting."""

    def __init__(self, spec: PhantomSpec, box: PixelBox, fields: Fields, stamps: Stamps) -> None:
        self.spec, self.box, self.fields, self.stamps = spec, box, fields, stamps
        self.room = (2 * stamps.gland_margin_px[0], 2 * stamps.gland_margin_px[1])
        shape = (box.height + 2 * self.room[1], box.width + 2 * self.room[0])
        self.nuclei = np.zeros(shape, np.uint8)
        self.cytoplasm = np.zeros(shape, np.uint8)
        self.lumen = np.zeros(shape, np.uint8)

    def layers(self) -> Layers:
        inner = np.s_[self.room[1] : -self.room[1], self.room[0] : -self.room[0]]
        return Layers(self.nuclei[inner], self.cytoplasm[inner], self.lumen[inner])

    def spindles(self, textures: Textures) -> None:
        """Lay fibroblasts along the fibres."""
        places = self.candidates(STROMA_PITCH_UM, 30, jitter=0.95)
        keep = (self.look(self.fields.tissue, places) > 3) & (uniform(places.hashes, 2) < 0.8)
        places = places.where(keep & (self.look(self.fields.nest, places) < -3))
        at = (places.y % textures.side, places.x % textures.side)
        cross = self.look(self.fields.cross, places)
        angle = np.where(cross > 0.5, textures.angles[1][at], textures.angles[0][at])
        bins = np.round(angle * (ANGLE_BINS / math.pi)).astype(np.int64) % ANGLE_BINS
        variant = (uniform(places.hashes, 3) * len(self.stamps.spindle[0])).astype(np.int64)
        chosen = [self.stamps.spindle[b][v] for b, v in zip(bins, variant, strict=True)]
        self.darken(places, chosen)

    def tumour(self) -> None:
        """Fill the nests with tumour cells; a cell belongs to tumour by its exact position."""
        if not (self.fields.nest > 0).any():
            return
        places = self.candidates(TUMOUR_PITCH_UM, 31, jitter=0.8)
        keep = (self.look(self.fields.nest, places) > 1.5) & (uniform(places.hashes, 2) < 0.94)
        places = places.where(keep & (self.look(self.fields.tissue, places) > 3))
        places = places.where(regions_of(self.spec).is_tumour(places.x_um, places.y_um))
        self.darken(places, _choose(places, self.stamps.tumour))

    def glands(self) -> None:
        """Set glands into the lobules, over the stroma that would be there."""
        margin = self.stamps.gland_margin_px
        places = self.candidates(GLAND_PITCH_UM, 32, jitter=0.3, margin=margin)
        keep = (self.look(self.fields.lobule, places) > 0) & (uniform(places.hashes, 2) < 0.9)
        places = places.where(keep & (self.look(self.fields.tissue, places) > 30))
        keep = regions_of(self.spec).tumour(places.x_um, places.y_um) < -30
        places = places.where(keep)
        chosen = _choose(places, self.stamps.glands)
        flips = (uniform(places.hashes, 4) * 4).astype(np.int64)
        for gland, flip, x, y in zip(chosen, flips, places.x, places.y, strict=True):
            turned = np.s_[:: 1 - 2 * (flip & 1), :: 1 - (flip & 2)]
            window = self.window(gland.nuclei, int(x), int(y))
            wall, empty = gland.cytoplasm[turned], gland.lumen[turned]
            outside = wall < 60
            view = self.nuclei[window]
            view *= outside
            np.maximum(view, gland.nuclei[turned], out=view)
            np.maximum(self.cytoplasm[window], wall, out=self.cytoplasm[window])
            np.maximum(self.lumen[window], empty, out=self.lumen[window])

    def lymphocytes(self) -> None:
        """Scatter lymphocytes, a few everywhere and many in clusters: small, dark and benign."""
        places = self.candidates(LYMPHOCYTE_PITCH_UM, 33, jitter=0.7)
        chance = np.full(places.x.shape, 0.006)
        reach = 130.0
        around = self.box.grown(
            *(
                math.ceil(reach / mpp) + margin
                for mpp, margin in zip(self.spec.mpp, self.stamps.nucleus_margin_px, strict=True)
            )
        )
        clusters = _places(
            around, self.spec.mpp, CLUSTER_PITCH_UM, stream(self.spec.seed, 34), jitter=0.9
        )
        clusters = clusters.where(uniform(clusters.hashes, 2) < CLUSTER_CHANCE)
        for x, y, size in zip(
            clusters.x_um, clusters.y_um, uniform(clusters.hashes, 3), strict=True
        ):
            radius = 28 + 50 * size
            near = np.hypot(places.x_um - x, (places.y_um - y) * (1.4 - 0.8 * size)) / radius
            chance = np.maximum(chance, 0.95 * np.clip(1.5 - 1.2 * near, 0, 1))
        keep = uniform(places.hashes, 2) < chance
        places = places.where(keep)
        places = places.where(self.look(self.fields.tissue, places) > 4)
        self.darken(places, _choose(places, self.stamps.lymphocyte))

    def candidates(
        self, pitch_um: float, salt: int, jitter: float, margin: tuple[int, int] | None = None
    ) -> _Places:
        box = self.box.grown(*(margin or self.stamps.nucleus_margin_px))
        return _places(box, self.spec.mpp, pitch_um, stream(self.spec.seed, salt), jitter)

    def look(self, field: NDArray[np.float32], places: _Places) -> NDArray[np.float32]:
        return self.fields.nodes.nearest(field, places.x, places.y)

    def window(self, stamp: Stamp, x: int, y: int) -> tuple[slice, slice]:
        height, width = stamp.shape
        left = x - self.box.x + self.room[0] - width // 2
        top = y - self.box.y + self.room[1] - height // 2
        return (slice(top, top + height), slice(left, left + width))

    def darken(self, places: _Places, chosen: list[Stamp]) -> None:
        # The maximum does not depend on the order of stamps, so blocks agree.
        for stamp, x, y in zip(chosen, places.x.tolist(), places.y.tolist(), strict=True):
            view = self.nuclei[self.window(stamp, x, y)]
            np.maximum(view, stamp, out=view)


def _choose(places: _Places, among: tuple[T, ...]) -> list[T]:
    picks = (uniform(places.hashes, 3) * len(among)).astype(np.int64)
    return [among[pick] for pick in picks.tolist()]
