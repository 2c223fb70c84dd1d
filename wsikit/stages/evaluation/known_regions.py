"""Regions known to be positive, beside a cohort: masks and drawn areas, laid over patches.

For a slide the folder holds `<slide_id>_mask.png`, a black and white picture of the whole slide at
any scale, `<slide_id>.geojson` with areas as QuPath draws them (`.geojson.gz`, `.json` and
`.json.gz` too), or `<slide_id>.xml` as ASAP does; the first of these that is there is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from wsikit.errors import StoreError
from wsikit.geometry import PatchGrid
from wsikit.phantoms.truth import patch_truth
from wsikit.stages.drawn_areas import SUFFIXES, placed_areas, read_areas
from wsikit.stages.tiling.region_of_interest import check_has_area, check_on_slide, is_of_class
from wsikit.tissue.region_shares import region_shares
from wsikit.types import BoolMask, Size

MASK = "_mask.png"


@dataclass(frozen=True)
class Patches:
    """Where a slide's scored patches lie.

    Attributes:
        corner: (N, 2) int64, x and y of the top left corner, level-0 px.
        side: width and height, level-0 px.
        grid: the slide's patch grid.
    """

    corner: NDArray[np.int64]
    side: Size
    grid: PatchGrid

    @property
    def rowcol(self) -> NDArray[np.int64]:
        """Row and column of each patch in the grid, (N, 2) int64."""
        step = np.array(self.grid.patch_size) * self.grid.scale
        return np.asarray(np.rint(self.corner / step).astype(np.int64)[:, ::-1])

    @property
    def on_slide(self) -> NDArray[np.float64]:
        """The share of each patch that lies on the slide, (N,) float64 above 0."""
        size = np.array(self.grid.slide_px)
        inside = np.minimum(self.corner + self.side, size) - self.corner
        return np.asarray(np.prod(inside / np.array(self.side), axis=1))


@dataclass(frozen=True)
class KnownRegions:
    """A slide's known regions, as its patches see them.

    Attributes:
        share: (N,) float64 in 0..1, the part of each patch inside; of a patch that overhangs the
            slide, of the part on it.
        lesions: for each connected region, (N,) bool: the patches that overlap it.
    """

    share: NDArray[np.float64]
    lesions: tuple[NDArray[np.bool_], ...]


def region_file(folder: Path, slide_id: str) -> Path | None:
    """Return the file of a slide's known regions, or None where there is none."""
    names = (f"{slide_id}{suffix}" for suffix in (MASK, *SUFFIXES))
    return next((folder / name for name in names if (folder / name).exists()), None)


def known_regions(
    file: Path,
    patches: Patches,
    names: Sequence[str] = (),
    corner: tuple[float, float] = (0, 0),
) -> KnownRegions:
    """Lay a slide's known regions over its patches.

    In a mask, white pixels that touch, also at a corner, are one region. Drawn areas that overlap
    or share a border are one; holes are outside.

    Args:
        file: from `region_file`.
        patches: the slide's patches.
        names: only drawn areas of these classes; with none, all, if they are of one class.
        corner: where the viewer that they were drawn in counts from, level-0 px; not for masks.

    Raises:
        SlideError: the file is not what its name says, or its areas lie beside the slide.
        StoreError: the mask cannot be read, or areas of several classes are drawn and none named.
    """
    if file.name.endswith(MASK):
        return _of_mask(*_open_mask(file, patches.grid.slide_px), patches)
    return _of_areas(known_areas(file, patches.grid, names, corner), patches)


def no_regions(patches: Patches) -> KnownRegions:
    """Return what a slide without any known region has."""
    return KnownRegions(np.zeros(len(patches.corner)), ())


def read_mask(folder: Path, slide_id: str, size_l0: Size) -> tuple[BoolMask, tuple[float, float]]:
    """Read `<slide_id>_mask.png`, a mask of the whole slide at any scale.

    Args:
        folder: where masks lie.
        slide_id: the slide.
        size_l0: the slide's size in level-0 px.

    Returns:
        (h, w) bool and level-0 px per mask px along x and y.

    Raises:
        StoreError: absent or unreadable.
    """
    return _open_mask(folder / f"{slide_id}{MASK}", size_l0)


def _open_mask(path: Path, size_l0: Size) -> tuple[BoolMask, tuple[float, float]]:
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            mask = np.asarray(picture.convert("L")) > 127
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise StoreError(
            f"{path}: no readable mask", "write it as a black and white PNG"
        ) from error
    return mask, (size_l0.width / mask.shape[1], size_l0.height / mask.shape[0])


def _of_mask(mask: BoolMask, scale: tuple[float, float], patches: Patches) -> KnownRegions:
    x, y = patches.corner.T
    share = patch_truth(mask, scale, x, y, *patches.side) / patches.on_slide
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3), bool))
    return KnownRegions(np.clip(share, 0, 1), tuple(_mask_lesions(labels, scale, patches)))


def _mask_lesions(
    labels: NDArray[np.int32], scale: tuple[float, float], patches: Patches
) -> Iterator[NDArray[np.bool_]]:
    """Yield the patches of each connected region, looking only around it."""
    left, top = (patches.corner / np.array(scale)).T
    wide, high = np.array(patches.side) / np.array(scale)
    for number, (rows, cols) in enumerate(ndimage.find_objects(labels), 1):
        overlaps = np.zeros(len(patches.corner), bool)
        near = np.flatnonzero(
            (left < cols.stop) & (left + wide > cols.start)
            & (top < rows.stop) & (top + high > rows.start)
        )  # fmt: skip
        region = labels[rows, cols] == number
        x, y = left[near] - cols.start, top[near] - rows.start
        overlaps[near] = patch_truth(region, 1.0, x, y, wide, high) > 0
        yield overlaps


def known_areas(
    file: Path, grid: PatchGrid, names: Sequence[str], corner: tuple[float, float]
) -> list[Any]:
    """Read drawn areas into the slide's level-0 frame, as shapely geometries.

    Args:
        file: GeoJSON or ASAP's XML.
        grid: the slide's patch grid.
        names: as for `known_regions`.
        corner: as for `known_regions`.

    Raises:
        SlideError: the file is not usable, or its areas lie beside the slide.
        StoreError: areas of several classes are drawn and none named.
    """
    found = read_areas(file)
    check_has_area(file, found)
    areas = placed_areas(found, corner)
    check_on_slide(file, areas, grid)
    if not names and len({area.name for area in areas}) > 1:
        classes = ", ".join(f"'{name}'" for name in found.names())
        raise StoreError(
            f"{file}: holds areas of several classes ({classes})",
            "say with --region which of them are the known regions",
        )
    return [area.shape for area in areas if is_of_class(area.name, tuple(names))]


def _of_areas(areas: list[Any], patches: Patches) -> KnownRegions:
    row, col = patches.rowcol.T
    share = region_shares(areas, patches.grid)[row, col]
    slide = shapely.box(0, 0, *patches.grid.slide_px)
    whole = shapely.intersection(shapely.union_all(areas), slide)
    parts = shapely.get_parts(whole)
    regions = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    x, y = patches.corner.T
    squares = shapely.box(x, y, x + patches.side.width, y + patches.side.height)
    tree = shapely.STRtree(squares)
    lesions = []
    for region in regions:
        near = tree.query(region, predicate="intersects")
        overlaps = np.zeros(len(squares), bool)
        # A square that only touches the border overlaps nothing.
        overlaps[near] = shapely.area(shapely.intersection(squares[near], region)) > 0
        lesions.append(overlaps)
    return KnownRegions(share, tuple(lesions))
