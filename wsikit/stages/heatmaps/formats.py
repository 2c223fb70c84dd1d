"""The file formats of `wsikit heatmap`, by the name a user writes after --format."""

from __future__ import annotations

from collections.abc import Mapping

from wsikit.stages.heatmaps import contact_sheet, geojson, grad_cam_pictures, html, ome_tiff, png
from wsikit.stages.heatmaps.slide_heatmap import Write

GRAD_CAM = "grad-cam"

FORMATS: Mapping[str, Write] = {
    "png": png.write,
    "sheet": contact_sheet.write,
    "geojson": geojson.write,
    "ome-tiff": ome_tiff.write,
    "html": html.write,
    "html-file": html.write_file,
    GRAD_CAM: grad_cam_pictures.write,
}
"""The names are those that `heatmap.formats` allows in `wsikit.config`."""
