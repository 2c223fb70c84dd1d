"""Each patch as a QuPath tile, one line of GeoJSON a patch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from wsikit.heatmap.geojson_classes import Band, band_of, compact
from wsikit.heatmap.scores import PatchScores

MANY = 50_000
"""From so many patches on a class's colour is stated once, which saves a tenth of the file."""


def patch_features(
    scores: PatchScores, bands: Sequence[Band], offset_l0: tuple[int, int]
) -> Iterator[str]:
    """Yield each patch as a feature.

    A `tile` is a detection, so a measurement map can be drawn over it and QuPath's hierarchy stays
    quick with 100,000 of them. Its class is a band of scores; the exact score is a measurement
    whose name says what it means. QuPath 0.4 and later know a class by its bare name once they have
    met it with its colour; of fewer than `MANY` patches each states both, for other readers' sake.

    Args:
        scores: the patches.
        bands: their classes.
        offset_l0: added to every corner, (x, y) in level-0 px.
    """
    xy0 = scores.xy_l0.astype(np.int64) + np.array(offset_l0, np.int64)
    xy1 = xy0 + np.array(scores.side_l0, np.int64)
    heads = [_head(scores, {"name": band.name, "color": list(band.colour)}) for band in bands]
    later = [_head(scores, band.name) for band in bands] if len(xy0) >= MANY else heads
    # Its own percentile means something only where the classes are cut by it.
    second = ',"percentile":{:.4g}' if scores.by_percentile else ""
    columns = (xy0, xy1, band_of(scores, bands), scores.values, scores.percentile, scores.rank)
    for (x0, y0), (x1, y1), band, value, percentile, rank in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        head, heads[band] = heads[band], later[band]
        yield (
            '{"type":"Feature","geometry":{"type":"Polygon","coordinates":'
            f"[[[{x0},{y0}],[{x1},{y0}],[{x1},{y1}],[{x0},{y1}],[{x0},{y0}]]]}}"
            f'{head}{value:.4g}{second.format(percentile)},"rank":{rank}}}}}}}'
        )


def _head(scores: PatchScores, classification: object) -> str:
    """Return the properties of a class's features up to the score."""
    return (
        f',"properties":{{"objectType":"tile","classification":{compact(classification)}'
        f',"measurements":{{{compact(scores.meaning)}:'
    )
