"""The annotation file that QuPath opens."""

from __future__ import annotations

from pathlib import Path

from wsikit.heatmap.geojson import write_geojson
from wsikit.stages.heatmaps.slide_heatmap import SlideHeatmap
from wsikit.stages.viewer_frame import stored_corner


def write(slide: SlideHeatmap, folder: Path) -> None:
    """Write `<slide_id>.geojson`, counted from where QuPath counts; see `viewer_frame`."""
    stored, config = slide.stored, slide.config
    x, y = stored_corner(stored, config.origin)
    write_geojson(
        folder / f"{slide.slide_id}.geojson",
        slide.scores,
        name=slide.scores.meaning.removeprefix("probability of "),
        style=config.style,
        thresholds=config.thresholds,
        offset_l0=(-x, -y),
        mpp=stored.mpp_l0 if stored.mpp_known else None,
    )
