"""Read the TIFF family quickly: whole tiles, each decoded once a read, with no copy in between."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tifffile
import tiffslide

from wsikit.errors import SlideError
from wsikit.slides.files import unreadable
from wsikit.slides.properties import finite_number, safe_properties
from wsikit.slides.slide import DAMAGED, DamagedSlideError, Level, Slide, pyramid
from wsikit.slides.tiff_mpp import ome_mpp
from wsikit.slides.tiff_page import TiffTiles
from wsikit.slides.tiff_whole import is_cut_short
from wsikit.slides.tile_cache import TileCache
from wsikit.types import Mpp, UInt8Image

_OTHERS_READ_BETTER = {
    "is_ndpi": "Hamamatsu NDPI",
    "is_scn": "Leica SCN",
    "is_bif": "Ventana BIF",
    "is_philips": "Philips TIFF",
}
"""Families whose levels are padded, overlap or lie apart, which only OpenSlide puts together."""

_TRESTLE_SOFTWARE = "MedScan"

CACHE_BYTES = 128 << 20
"""Decoded tiles held, so that neighbouring reads share those on their border."""

_QUIET = logging.NullHandler()

_READ_AS = frozenset(
    {"ome", "svs", "ndpi", "scn", "bif", "philips", "qpi", "indica", "avs", "shaped", "uniform"}
)
"""Kinds that tifffile may take a TIFF for: no stacks, which it counts by what the header says."""

_OPTIONS = {
    **{f"is_{kind}": False for kind in tifffile.TIFF.FILE_FLAGS - _READ_AS},
    "_multifile": False,  # OME-XML names other files by any path; each file is what it holds
}


class TiffSlide(Slide):
    """Read a TIFF slide: Aperio SVS, OME-TIFF, generic pyramids, tiled or in strips.

    What the image is (its series, levels, mpp, vendor) comes from the tiffslide library; label,
    macro and thumbnail are other series and never touched. Pixels are decoded by tifffile and
    imagecodecs a whole tile at a time. 8-bit grey, RGB and YCbCr-in-JPEG are read; alpha is laid
    on white; a missing tile is white. The rest is refused with the reason, and left to OpenSlide.

    Args:
        path: a TIFF file, whatever its suffix.
        mpp: what the user says the level-0 mpp is.

    Raises:
        SlideError: not a TIFF, or a kind of TIFF that is not read here.
        DamagedSlideError: the header promises what the file does not hold.
    """

    backend: ClassVar[str] = "tiff"

    def __init__(self, path: Path, mpp: Mpp | None = None) -> None:
        super().__init__(path, mpp)
        self._cache = TileCache(CACHE_BYTES)
        self._source: tiffslide.TiffSlide | None = _opened(path)
        try:
            tiff = self._source.ts_tifffile
            _refuse_unfit(tiff, path.name)
            raw = _metadata(self._source, path.name)
            self._tiles = _tiles_of_levels(tiff, int(raw["series-index"]), path.name)
            self.levels = pyramid([tiles.size for tiles in self._tiles], path.name)
            self._tiles, self.levels = _same_picture(self._tiles, self.levels)
            self.metadata_mpp = ome_mpp(tiff) or (
                finite_number(raw.get("mpp-x")),
                finite_number(raw.get("mpp-y")),
            )
        except BaseException:
            self.close()
            raise
        self.properties = safe_properties(_named(raw, self.metadata_mpp), self.levels)

    def read_level(self, level: int, x: int, y: int, width: int, height: int) -> UInt8Image:
        """Read whole pixels of one level; see `Slide.read_level`."""
        if self._source is None:
            raise SlideError(f"{self.path.name}: the slide is closed", "open it again")
        tiles = self._tiles[level]
        out = np.empty((height, width, 3), np.uint8)
        for top, left, index in tiles.touched(x, y, width, height):
            tile = self._cache.get((level, index))
            if tile is None:
                tile = tiles.decode(index)
                if tile is not None:
                    self._cache.put((level, index), tile)
            if tile is None or tile.shape[:2] != tiles.tile[::-1]:
                _paste(out, tiles.white, left - x, top - y)
            if tile is not None:
                _paste(out, tile, left - x, top - y)
        return out

    def close(self) -> None:
        """Release the file; a second call does nothing."""
        if self._source is not None:
            self._source.close()
        self._source = None


def _opened(path: Path) -> tiffslide.TiffSlide:
    logging.getLogger("tifffile").addHandler(_QUIET)  # what it finds wrong is raised, not printed
    try:
        return tiffslide.TiffSlide(path, tifffile_options=_OPTIONS)
    except OSError as error:
        raise unreadable(path, error) from error
    except tifffile.TiffFileError as error:
        raise SlideError(f"{path.name}: {error}", "check that the file is a slide") from error
    except Exception as error:  # a parser of untrusted bytes may raise anything
        raise _cannot_parse(path.name, error) from error


def _cannot_parse(name: str, error: Exception) -> SlideError:
    return SlideError(f"{name}: its TIFF header cannot be read ({error!r:.120})", DAMAGED)


def _refuse_unfit(tiff: tifffile.TiffFile, name: str) -> None:
    """Refuse the families that OpenSlide alone reads rightly, and incomplete files.

    Raises:
        SlideError: the file is of such a family.
        DamagedSlideError: the file ends before its content does.
    """
    try:
        kinds = [kind for flag, kind in _OTHERS_READ_BETTER.items() if getattr(tiff, flag)]
        if str(tiff.pages.first.software).startswith(_TRESTLE_SOFTWARE):
            kinds.append("Trestle TIFF")
        cut_short = not kinds and is_cut_short(tiff)
    except Exception as error:  # a parser of untrusted bytes may raise anything
        raise _cannot_parse(name, error) from error
    if kinds:
        raise SlideError(f"{name}: {kinds[0]} is read by OpenSlide only", "use that reader")
    if cut_short:
        raise DamagedSlideError(f"{name}: the file is cut short", DAMAGED)


def _metadata(source: tiffslide.TiffSlide, name: str) -> dict[str, Any]:
    try:
        return {key.removeprefix("tiffslide."): value for key, value in source.properties.items()}
    except Exception as error:  # a parser of untrusted bytes may raise anything
        raise _cannot_parse(name, error) from error


def _tiles_of_levels(tiff: tifffile.TiffFile, series: int, name: str) -> list[TiffTiles]:
    """Return the tiles of each level of one series, finest first."""
    try:
        levels = tiff.series[series].levels
        firsts = [level.pages[0] for level in levels if len(level.pages) == 1]
        pages = [page.aspage() for page in firsts if page is not None]
    except Exception as error:  # a parser of untrusted bytes may raise anything
        raise _cannot_parse(name, error) from error
    if len(pages) != len(levels):
        raise SlideError(
            f"{name}: the TIFF is a stack of pictures or has its channels apart",
            "convert it to an RGB pyramid",
        )
    return [TiffTiles(page, tiff.filehandle, name) for page in pages]


def _same_picture(
    tiles: list[TiffTiles], levels: tuple[Level, ...]
) -> tuple[list[TiffTiles], tuple[Level, ...]]:
    """Keep the levels that shrink and have the shape of level 0: a macro is no level."""
    kept = [0]
    for index in range(1, len(levels)):
        size, (x, y) = levels[index].size, levels[index].downsample
        finer = levels[kept[-1]].size
        off_px = abs(x / y - 1) * min(size)
        if size.width < finer.width and size.height < finer.height and off_px <= 2:
            kept.append(index)
    return [tiles[i] for i in kept], tuple(levels[i] for i in kept)


def _named(raw: Mapping[str, Any], mpp: tuple[float | None, float | None]) -> dict[str, object]:
    """Return the raw properties with the mpp that is used, and a vendor where none is stated."""
    return {**raw, "vendor": raw.get("vendor") or "generic-tiff", "mpp-x": mpp[0], "mpp-y": mpp[1]}


def _paste(out: UInt8Image, tile: UInt8Image, left: int, top: int) -> None:
    """Copy a tile whose corner lies at (left, top) of `out`, as far as it lies inside."""
    bottom = min(out.shape[0], top + tile.shape[0])
    right = min(out.shape[1], left + tile.shape[1])
    y, x = max(0, top), max(0, left)
    out[y:bottom, x:right] = tile[y - top : bottom - top, x - left : right - left]
