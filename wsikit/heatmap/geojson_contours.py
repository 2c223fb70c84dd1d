"""Patches above a threshold, merged into areas: QuPath annotations, one line of GeoJSON each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from wsikit.heatmap.contours import ConnectedArea, PatchRaster
from wsikit.heatmap.geojson_classes import Band, band_of, compact
from wsikit.heatmap.scores import PatchScores
from wsikit.types import Mpp


def contour_features(
    scores: PatchScores, bands: Sequence[Band], offset_l0: tuple[int, int], mpp: Mpp | None
) -> Iterator[str]:
    """Yield the connected areas at or above every threshold as features, lowest threshold first.

    Each area is an annotation of its own and not a part of one MultiPolygon: so it has its own line
    in QuPath's list, its own measurements to sort by, and can be jumped to, corrected or deleted
    alone. An area of a higher threshold lies inside one of the lower, as QuPath's hierarchy does.
    Within a threshold the one with the highest score comes first and is number 1.

    Args:
        scores: the patches.
        bands: their classes; all but the first begin at a threshold.
        offset_l0: added to every corner, (x, y) in level-0 px.
        mpp: micrometres per level-0 px; None where it is not known, then no area is stated.
    """
    raster, own_band = PatchRaster(scores.xy_l0, scores.side_l0), band_of(scores, bands)
    columns: dict[str, NDArray[np.floating]] = {scores.meaning: scores.values.astype(np.float64)}
    if scores.by_percentile:
        columns["percentile"] = scores.percentile.astype(np.float64)
    for number, band in enumerate(bands[1:], 1):
        areas = list(raster.areas(own_band >= number))
        areas.sort(key=lambda area: -scores.values[area.patches].max())
        head = f'"objectType":"annotation","name":"{compact(band.from_name)[1:-1]} #'
        kind = compact({"name": band.from_name, "color": list(band.colour)})
        for rank, area in enumerate(areas, 1):
            yield (
                '{"type":"Feature","geometry":{"type":"Polygon","coordinates":'
                f"{compact([(r + np.array(offset_l0)).tolist() for r in area.rings])}}}"
                f',"properties":{{{head}{rank}","classification":{kind}'
                f',"measurements":{compact(_measurements(area, columns, mpp))}}}}}'
            )


def _measurements(
    area: ConnectedArea, columns: dict[str, NDArray[np.floating]], mpp: Mpp | None
) -> dict[str, float]:
    """Return an area's numbers by the names that QuPath's table shows."""
    found: dict[str, float] = {}
    for name, values in columns.items():
        own = values[area.patches]
        found[f"{name}: mean"] = _rounded(own.mean())
        found[f"{name}: max"] = _rounded(own.max())
    found["patches"] = len(area.patches)
    if mpp is not None:
        found["area um^2"] = _rounded(area.area * mpp.x * mpp.y, 6)
    return found


def _rounded(value: float, digits: int = 4) -> float:
    return float(f"{value:.{digits}g}")
