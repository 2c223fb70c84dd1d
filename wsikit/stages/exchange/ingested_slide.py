"""Put a slide into the store of which only corners and features are known, not the pixels.

The stored slide looks like a tiled one to every reader: patch index, decisions, thumbnail, and an
image array, none of whose chunks is there. What needs pixels fails with one line
(`StoredSlide.require_pixels`); training, prediction, graphs and heatmaps need none.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsikit.errors import MppError, SlideError
from wsikit.geometry import PatchGrid
from wsikit.slides.fingerprint import fingerprint
from wsikit.slides.open import open_slide
from wsikit.slides.overview import read_overview
from wsikit.slides.slide import checked_mpp
from wsikit.stages.cohort import SourceSlide
from wsikit.stain.normaliser import Identity
from wsikit.store.decisions import KEPT, REASONS, Decisions
from wsikit.store.h5_geometry import H5Geometry, cells, check_corners, reach
from wsikit.store.recipe import Recipe, recipe_id
from wsikit.store.slide_writer import SlideWriter
from wsikit.store.store import Store
from wsikit.types import Mpp, Size, UInt8Image

WHITE = 255

THUMBNAIL_MPP = 16.0
THUMBNAIL_PX = (1024, 4096)
"""Least and largest length of a thumbnail, as for tiled slides."""


@dataclass(frozen=True)
class PlacedSlide:
    """A slide's patches, with all that is needed to put them into the store.

    Attributes:
        slide_id: its id.
        coords: (N, 2) int64, corners x and y in level-0 px.
        grid: the patch grid over the slide.
        mpp_l0: um per level-0 px.
        source: the slide's file, where it is at hand.
        downsamples: level of the slide's pyramid -> its downsample, as far as the patches' file
            states it.
        fingerprint: identity of the slide: its file's where that is at hand, else that of its id
            and corners.
    """

    slide_id: str
    coords: NDArray[np.int64]
    grid: PatchGrid
    mpp_l0: Mpp
    source: SourceSlide | None
    downsamples: Mapping[int, float]
    fingerprint: str

    def recipe(self, store_recipe: Recipe) -> dict[str, Any]:
        """Return all that decides the stored slide, its features apart."""
        return {
            **store_recipe,
            "source": self.fingerprint,
            "coords": hashlib.sha256(self.coords.tobytes()).hexdigest(),
            "size_l0": list(self.grid.slide_px),
            "mpp_l0": list(self.mpp_l0),
            "scale": list(self.grid.scale),
        }

    def shared_cells(self) -> int:
        """Count the patches that share their cell of the grid with an earlier one."""
        return len(self.coords) - len(np.unique(cells(self.coords, self.grid), axis=0))


def place_slide(
    slide_id: str,
    name: str,
    coords: NDArray[np.int64],
    geometry: H5Geometry,
    source: SourceSlide | None,
    mpp: Mpp | None,
    size_from_patches: bool,
) -> PlacedSlide:
    """Find a slide's size and resolution, and see that the patches fit into it.

    Args:
        slide_id: its id.
        name: name of the file the patches came from, for messages.
        coords: (N, 2) int64, corners x and y in level-0 px.
        geometry: what that file says.
        source: the slide's own file, where it is at hand; what it says goes first.
        mpp: what the user says of this slide, where its file is not at hand.
        size_from_patches: whether the user allows that a size nobody states is what the patches
            reach to.

    Raises:
        SlideError: the size is not known, or file and slide contradict each other.
        MppError: the resolution is not known.
    """
    if source is not None:
        with open_slide(source.path, source.mpp) as slide:
            size, mpp_l0 = slide.size_l0, slide.mpp
        if geometry.size_l0 not in (None, size):
            raise SlideError(
                f"{name}: made from a slide of {_px(geometry.size_l0)}, but {source.path.name} "
                f"has {_px(size)}",
                "give the slide file that the features were made from",
            )
        identity = fingerprint(source.path)
    else:
        size = _size(name, coords, geometry, size_from_patches)
        mpp_l0 = _mpp(name, geometry, mpp)
        # Two slides can have the same corners, so the name has to tell them apart.
        identity = hashlib.sha256(slide_id.encode() + b"\0" + coords.tobytes()).hexdigest()
    grid = PatchGrid(size, geometry.scale, geometry.patch_px)
    check_corners(coords, grid, name)
    return PlacedSlide(slide_id, coords, grid, mpp_l0, source, geometry.downsamples, identity)


def _px(size: Size | None) -> str:
    return f"{size.width} x {size.height} px" if size else "unknown size"


def _size(
    name: str, coords: NDArray[np.int64], geometry: H5Geometry, size_from_patches: bool
) -> Size:
    if geometry.size_l0 is not None:
        return geometry.size_l0
    if size_from_patches:
        return reach(coords, geometry)
    raise SlideError(
        f"{name}: does not say how large the slide is",
        "give the slides with --slides, or --size-from-patches to go by what the patches reach",
    )


def _mpp(name: str, geometry: H5Geometry, mpp: Mpp | None) -> Mpp:
    known = mpp or geometry.mpp_l0
    if known is None:
        seen = " (a magnification is none)" if geometry.magnification is not None else ""
        raise MppError(
            f"{name}: states no micrometres per pixel{seen}",
            "give those of level 0 with --mpp, or the slides with --slides",
        )
    return checked_mpp(known, name)


def write_placed(store: Store, placed: PlacedSlide, recipe: Recipe) -> None:
    """Write a slide without pixels, replacing one of the same id.

    Patches keep their order and their corners. Their row and column are the cell in which the
    corner lies; their foreground is 1, as the tool that made them kept them, and their entropy,
    which nobody computed, 0. The rest of the grid counts as dropped by a tissue filter: the other
    tool's.

    Args:
        store: an open store, locked by the caller.
        placed: the slide.
        recipe: from `PlacedSlide.recipe`.
    """
    grid = placed.grid
    row, col = cells(placed.coords, grid).T
    writer = SlideWriter(store.staging_path(f"{placed.slide_id}.zarr"), grid, ("zstd", 90, "420"))
    thumbnail, scale, properties = _picture(placed)
    attributes = {
        "recipe_id": recipe_id(recipe),
        "recipe": dict(recipe),
        "pixels": False,
        "size_l0": list(grid.slide_px),
        "mpp_l0": list(placed.mpp_l0),
        "mpp": [own * part for own, part in zip(placed.mpp_l0, grid.scale, strict=True)],
        "scale": list(grid.scale),
        "patch_px": grid.patch_px,
        "thumbnail_scale": list(scale),
        "stain": Identity().to_json(),
        "properties": dict(properties),
    }
    writer.begin(attributes, thumbnail, _decisions(grid, row, col))
    x, y = placed.coords.astype(np.int32).T
    index = {
        "x": x,
        "y": y,
        "row": row,
        "col": col,
        "foreground": np.ones(len(row), np.float32),
        "entropy": np.zeros(len(row), np.float32),
    }
    writer.finish(store.slide_path(placed.slide_id), index)


def _decisions(grid: PatchGrid, row: NDArray[np.int32], col: NDArray[np.int32]) -> Decisions:
    shape = (grid.rows, grid.cols)
    reason = np.full(shape, REASONS.index("tissue"), np.uint8)
    reason[row, col] = KEPT
    foreground = (reason == KEPT).astype(np.float32)
    return Decisions(foreground, np.full(shape, np.nan, np.float32), reason)


def _picture(
    placed: PlacedSlide,
) -> tuple[UInt8Image, tuple[float, float], Mapping[str, str]]:
    """Return a thumbnail, level-0 px per px of it, and the slide's properties.

    Where the slide's file is not at hand the thumbnail is white.
    """
    size, own = placed.grid.slide_px, placed.mpp_l0
    longest_um = max(size.width * own.x, size.height * own.y)
    wanted = min(THUMBNAIL_MPP, longest_um / THUMBNAIL_PX[0])
    if placed.source is not None:
        with open_slide(placed.source.path, placed.source.mpp) as slide, slide.tolerating_damage():
            return *read_overview(slide, wanted, THUMBNAIL_PX[1]), slide.properties
    wanted = max(wanted, longest_um / THUMBNAIL_PX[1], *own)
    scale = (wanted / own.x, wanted / own.y)
    width, height = (
        max(1, math.ceil(side / part - 1e-6)) for side, part in zip(size, scale, strict=True)
    )
    levels = {f"level[{n}].downsample": f"{d:.10g}" for n, d in placed.downsamples.items()}
    return np.full((height, width, 3), WHITE, np.uint8), scale, levels
