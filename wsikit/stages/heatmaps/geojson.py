"""The annotation file that QuPath opens."""

from __future__ import annotations

from pathlib import Path

from wsikit.heatmap.geojson import write_geojson
from wsikit.stages.heatmaps.slide_heatmap import SlideHeatmap


def write(slide: SlideHeatmap, folder: Path) -> None:
    """Write `<slide_id>.geojson`."""
    name = slide.scores.meaning.removeprefix("probability of ")
    write_geojson(folder / f"{slide.slide_id}.geojson", slide.scores, name=name)
