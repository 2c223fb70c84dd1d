"""The border of a slide's known regions, for pictures: from a mask, from QuPath or from ASAP."""

from __future__ import annotations

from pathlib import Path

from wsikit.config import HeatmapConfig
from wsikit.geometry import PatchGrid
from wsikit.heatmap.sheet import TruthOutline
from wsikit.stages.evaluation.known_regions import MASK, known_areas, read_mask, region_file
from wsikit.stages.viewer_frame import stored_corner
from wsikit.store.stored_slide import StoredSlide
from wsikit.tissue.region_shares import region_shares


def truth_outline(stored: StoredSlide, folder: Path, config: HeatmapConfig) -> TruthOutline | None:
    """Read what is known of a slide.

    Drawn areas become a mask with the thumbnail's pixels: what at least half covers one is inside.

    Args:
        stored: the slide.
        folder: where masks and files of drawn areas lie; see `known_regions`.
        config: which classes of areas, and where their viewer counts from.

    Returns:
        The region, or None where the folder has no file for the slide.

    Raises:
        StoreError: the mask cannot be read, or areas of several classes are drawn and none named.
        SlideError: the areas cannot be read, or lie beside the slide.
    """
    file = region_file(folder, stored.slide_id)
    if file is None:
        return None
    label = ", ".join(config.regions) or "known region"
    if file.name.endswith(MASK):
        return TruthOutline(*read_mask(folder, stored.slide_id, stored.grid.slide_px), label)
    corner = stored_corner(stored, config.origin)
    areas = known_areas(file, stored.grid, config.regions, corner)
    pixels = PatchGrid(stored.grid.slide_px, stored.thumbnail_scale, 1)
    return TruthOutline(region_shares(areas, pixels) >= 0.5, pixels.scale, label)
