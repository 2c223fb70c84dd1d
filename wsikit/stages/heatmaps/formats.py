"""The file formats of `wsikit heatmap`, by the name a user writes after --format."""

from __future__ import annotations

from collections.abc import Mapping

from wsikit.stages.heatmaps import contact_sheet, geojson, html, ome_tiff, png
from wsikit.stages.heatmaps.slide_heatmap import Write

FORMATS: Mapping[str, Write] = {
    "png": png.write,
    "sheet": contact_sheet.write,
    "geojson": geojson.write,
    "ome-tiff": ome_tiff.write,
    "html": html.write,
    "html-file": html.write_file,
}
"""The names are those that `heatmap.formats` allows in `wsikit.config`."""

FILES: Mapping[str, str] = {
    "png": "{slide_id}.png",
    "sheet": "{slide_id}.patches.png",
    "geojson": "{slide_id}.geojson",
    "ome-tiff": "{slide_id}.overlay.ome.tiff",
    "html": "{slide_id}/index.html",
    "html-file": "{slide_id}.viewer.html",
}
"""What a format writes for a slide: the file or folder that is there once all of it is.

A slide whose scores are unchanged is not drawn again, and the cohort page links what is there. A
format that is not named here is written again each time.
"""
