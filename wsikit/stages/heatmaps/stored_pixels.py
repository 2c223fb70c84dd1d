"""Read the store's image of a slide as a slide: its patches, and its thumbnail where none lies.

The store keeps foreground patches alone, stain-normalised. Between them, and in overviews that are
as coarse as the thumbnail, the thumbnail is shown, which is not normalised. It keeps no smaller
levels of them, so each patch is averaged down as it is decoded, and only then put in its place.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import ClassVar

import numpy as np
from PIL import Image

from wsikit.errors import StoreError
from wsikit.slides.resample import area_average
from wsikit.slides.slide import WHITE, Level, Slide
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import Box, Mpp, Size, UInt8Image

CACHE_BYTES = 1 << 27
"""Decoded patches that are kept: a row of a wide slide, which tiles that cross it read twice."""

FACTORS = (1, 2, 4, 8, 16)
"""Patches are averaged down by these, where their sides allow it."""


class NoPixelsError(StoreError):
    """There are no pixels of a slide to be had: a format that needs them is left out."""


class StoredPixels(Slide):
    """Read what the store holds of a slide.

    Args:
        stored: the slide.

    Raises:
        NoPixelsError: neither its pixels nor a thumbnail of it are stored.
    """

    backend: ClassVar[str] = "store"

    def __init__(self, stored: StoredSlide) -> None:
        super().__init__(stored.path)
        self._stored = stored
        self._thumbnail = stored.thumbnail()
        if not stored.has_pixels and (self._thumbnail == WHITE).all():
            raise NoPixelsError(
                f"slide '{stored.slide_id}' was ingested with features alone: there are no pixels",
                "give its file with --slides",
            )
        grid, across = stored.grid, stored.thumbnail_scale
        self._scale = grid.scale if stored.has_pixels else across
        overview = (across[0] / self._scale[0], across[1] / self._scale[1])
        height, width = self._thumbnail.shape[:2]
        self._factors = _factors(grid.patch_size, min(overview)) if stored.has_pixels else ()
        levels = [
            Level(Size(-(-grid.image_px.width // k), -(-grid.image_px.height // k)), (k, k))
            for k in self._factors
        ]
        if not levels or min(overview) > 1:
            levels.append(Level(Size(width, height), overview))
        self.levels = tuple(levels)
        own = stored.mpp_l0
        self.metadata_mpp = (own.x * self._scale[0], own.y * self._scale[1])
        self.properties = {}
        self._thumbnail_down = overview
        places = zip(stored.patches.row.tolist(), stored.patches.col.tolist(), strict=True)
        self._index = {place: n for n, place in enumerate(places)} if stored.has_pixels else {}
        size = 3 * grid.patch_size.width * grid.patch_size.height
        self._patch = [
            lru_cache(max(4, CACHE_BYTES * k * k // size))(partial(self._averaged, k))
            for k in self._factors
        ]

    @property
    def mpp(self) -> Mpp:
        """Micrometres per pixel of the finest that is stored."""
        x, y = self.metadata_mpp
        if x is None or y is None:
            raise StoreError(f"slide '{self._stored.slide_id}' has no micrometres per pixel")
        return Mpp(x, y)

    @property
    def origin(self) -> str:
        """Say what is seen."""
        if not self._stored.has_pixels:
            return "the thumbnail in the store"
        if self._stored.is_collection:
            return "the pictures in the store"
        method = str(self._stored.attributes["stain"]["method"])
        colours = "colours as scanned" if method == "none" else f"stain-normalised ({method})"
        return f"the patches in the store, {colours}; elsewhere the thumbnail"

    def read(self, region: Box, mpp: Mpp | None = None) -> UInt8Image:
        """Read a box of the slide's own level-0 frame; see `Slide.read`.

        Raises:
            SlideError: `mpp` is finer than what is stored.
            StoreError: a patch is damaged.
        """
        x, y = self._scale
        own = Box(region.x / x, region.y / y, region.width / x, region.height / y)
        return super().read(own, mpp)

    def l0_per_px(self, mpp: Mpp) -> tuple[float, float]:
        """Return level-0 pixels per pixel of what is read at `mpp`; see `Slide.scale_to`."""
        x, y = self.scale_to(mpp)
        return (x * self._scale[0], y * self._scale[1])

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> UInt8Image:
        """Read the image, or the thumbnail; see `Slide.read_level`."""
        if level >= len(self._factors):
            return self._thumbnail[y : y + height, x : x + width]
        factor = self._factors[level]
        across, down = (side // factor for side in self._stored.grid.patch_size)
        places = [
            (row, col)
            for row in range(y // down, (y + height - 1) // down + 1)
            for col in range(x // across, (x + width - 1) // across + 1)
        ]
        known = {place: self._index[place] for place in places if place in self._index}
        if len(known) == len(places):
            image = np.empty((height, width, 3), np.uint8)
        else:
            image = self._overview(factor, x, y, width, height)
        for (row, col), index in known.items():
            _paste(image, self._patch[level](index), col * across - x, row * down - y)
        return image

    def _averaged(self, factor: int, index: int) -> UInt8Image:
        """Read a patch at a fraction of its size."""
        patch = self._stored.read_rgb(index)
        width, height = self._stored.grid.patch_size
        size = Size(width // factor, height // factor)
        return patch if factor == 1 else area_average(patch, (0, 0), (factor, factor), size)

    def _overview(self, factor: int, x: int, y: int, width: int, height: int) -> UInt8Image:
        """Enlarge the thumbnail's part of a rectangle of the image at a fraction of its size."""
        rows, cols = self._thumbnail.shape[:2]
        across, down = (side / factor for side in self._thumbnail_down)
        left, top = min(x / across, cols - 1e-3), min(y / down, rows - 1e-3)
        right, bottom = min((x + width) / across, cols), min((y + height) / down, rows)
        corners = (int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom)))
        part = Image.fromarray(self._thumbnail[corners[1] : corners[3], corners[0] : corners[2]])
        box = (left - corners[0], top - corners[1], right - corners[0], bottom - corners[1])
        return np.array(part.resize((width, height), Image.Resampling.BILINEAR, box=box))

    def close(self) -> None:
        """Let the decoded patches go."""
        for read in self._patch:
            read.cache_clear()


def _factors(patch: Size, coarsest: float) -> tuple[int, ...]:
    """Return those of `FACTORS` that divide both sides and are finer than the thumbnail."""
    fit = [k for k in FACTORS if patch.width % k == 0 and patch.height % k == 0]
    return tuple(k for k in fit if k == 1 or k < coarsest)


def _paste(image: UInt8Image, patch: UInt8Image, left: int, top: int) -> None:
    """Put a patch into an image; what lies outside it is cut off."""
    height, width = image.shape[:2]
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(width, left + patch.shape[1]), min(height, top + patch.shape[0])
    image[y0:y1, x0:x1] = patch[y0 - top : y1 - top, x0 - left : x1 - left]
