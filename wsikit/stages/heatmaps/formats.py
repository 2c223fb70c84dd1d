"""The file formats of `wsikit heatmap`, by the name a user writes after --format."""

from __future__ import annotations

from collections.abc import Mapping

from wsikit.stages.heatmaps import geojson, png
from wsikit.stages.heatmaps.slide_heatmap import Write

FORMATS: Mapping[str, Write] = {"png": png.write, "geojson": geojson.write}
"""The names are those that `heatmap.formats` allows in `wsikit.config`."""
