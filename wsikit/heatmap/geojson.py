"""Patch scores as GeoJSON that QuPath opens, in level-0 pixels: patches, contours, or both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

from wsikit.atomic import whole_file
from wsikit.heatmap.geojson_classes import Band, compact, score_bands
from wsikit.heatmap.geojson_contours import contour_features
from wsikit.heatmap.geojson_patches import patch_features
from wsikit.heatmap.scores import PatchScores
from wsikit.types import Mpp

THRESHOLDS = (0.2, 0.4, 0.6, 0.8)

Style = Literal["patches", "contours", "both"]
"""One feature a patch; merged areas above each threshold; or these on top of those."""


def write_geojson(
    path: Path,
    scores: PatchScores,
    *,
    name: str,
    style: Style = "patches",
    thresholds: Sequence[float] = THRESHOLDS,
    offset_l0: tuple[int, int] = (0, 0),
    mpp: Mpp | None = None,
) -> None:
    """Write patches, merged areas or both, as a file that appears whole or not at all.

    Classes are ranges of scores in the heatmap's colours, so QuPath's class list is the legend and
    a low one can be hidden with one click. The features are streamed.

    RFC 7946 departures: coordinates are level-0 pixels, as QuPath writes them, not degrees. The
    exterior ring runs counter-clockwise by its numbers; since y points down, clockwise on screen.

    Args:
        path: the file to write.
        scores: the patches.
        name: what a high score stands for ("tumour"); the classes are named after it.
        style: what becomes a feature.
        thresholds: rising cuts in 0..1 of the shown score: the borders of the patches' classes and
            the lower bounds of the merged areas.
        offset_l0: added to every corner, (x, y) in level-0 px. For a viewer that cuts a slide to
            its scanned bounds, give minus the corner of those bounds.
        mpp: micrometres per level-0 px, for the size of merged areas.

    Raises:
        ValueError: thresholds that do not rise from above 0 to below 1.
        UsageError: the file cannot be written.
    """
    bands = score_bands(scores, name, thresholds)
    features: list[Iterator[str]] = []
    if style != "contours":
        features.append(patch_features(scores, bands, offset_l0))
    if style != "patches":
        features.append(contour_features(scores, bands, offset_l0, mpp))
    with whole_file(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as out:
        out.write('{"type":"FeatureCollection","wsikit":')
        out.write(compact(_legend(scores, bands, style, offset_l0)))
        out.write(',"features":[')
        for i, feature in enumerate(chain(*features)):
            out.write(",\n" if i else "\n")
            out.write(feature)
        out.write("\n]}\n")


def _legend(
    scores: PatchScores, bands: Sequence[Band], style: Style, offset_l0: tuple[int, int]
) -> dict[str, object]:
    """Say what the file holds, as a foreign member that GeoJSON readers pass over."""
    legend: dict[str, object] = {
        "meaning": scores.meaning,
        "kind": scores.kind,
        "shown": scores.shown_meaning,
        "rank": "1 is the highest score in the slide",
        "frame": "level-0 pixels, origin top left, (x, y), moved by offset_l0",
        "offset_l0": list(offset_l0),
        "style": style,
        "patches": len(scores.values),
        "classes": [
            {"name": band.name, "low": band.low, "high": band.high, "color": list(band.colour)}
            for band in bands
        ],
    }
    if style != "patches":
        legend["contours"] = [
            {"name": band.from_name, "low": band.low, "color": list(band.colour)}
            for band in bands[1:]
        ]
    return legend
