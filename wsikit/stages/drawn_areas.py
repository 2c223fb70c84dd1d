"""Read drawn areas from either kind of file, and put them into a slide's level-0 frame."""

from __future__ import annotations

from pathlib import Path

from shapely.affinity import translate

from wsikit.stages.area_file import Area, AreaFile
from wsikit.stages.asap_areas import read_asap
from wsikit.stages.geojson_areas import read_geojson

GEOJSON_SUFFIXES = (".geojson", ".geojson.gz", ".json", ".json.gz")
ASAP_SUFFIXES = (".xml", ".xml.gz")

SUFFIXES = (*GEOJSON_SUFFIXES, *ASAP_SUFFIXES)
"""What a slide's file in a folder may end in; the first that is there is read."""


def read_areas(path: Path) -> AreaFile:
    """Read every area of a file: ASAP's where its name ends in `.xml`, else GeoJSON.

    Raises:
        SlideError: the file cannot be read or is neither.
    """
    is_asap = path.name.lower().endswith(ASAP_SUFFIXES)
    return read_asap(path) if is_asap else read_geojson(path)


def placed_areas(found: AreaFile, corner: tuple[float, float]) -> list[Area]:
    """Move a file's areas into the slide's level-0 frame.

    Args:
        found: from `read_areas`.
        corner: where the viewer counts from, (x, y) in level-0 px, for a file that does not tell
            itself; see `viewer_frame`.
    """
    offset = found.offset_l0
    x, y = corner if offset is None else (-offset[0], -offset[1])
    if (x, y) == (0, 0):
        return list(found.areas)
    return [Area(translate(area.shape, x, y), area.name) for area in found.areas]
