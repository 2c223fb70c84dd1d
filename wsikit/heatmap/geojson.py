"""Patch scores as GeoJSON that QuPath opens: one tile object a patch, in level-0 pixels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from wsikit.atomic import whole_file
from wsikit.heatmap.colours import heat
from wsikit.heatmap.scores import PatchScores

THRESHOLDS = (0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Band:
    """One QuPath class: a range of shown scores with the colour of its middle.

    Attributes:
        low: lowest shown score of the band, in 0..1.
        high: the next band's lowest; the last band includes it.
        name: what QuPath's class list says.
        colour: RGB, each 0..255.
    """

    low: float
    high: float
    name: str
    colour: tuple[int, int, int]


def write_geojson(
    path: Path,
    scores: PatchScores,
    *,
    name: str,
    thresholds: Sequence[float] = THRESHOLDS,
    offset_l0: tuple[int, int] = (0, 0),
) -> None:
    """Write one GeoJSON feature a patch, as a file that appears whole or not at all.

    Each patch is a QuPath `tile`: a detection, so a measurement map can be drawn over it and the
    hierarchy stays quick with 100,000 of them. Its class is a band of scores in the heatmap's
    colours, so the class list is the legend and a low band can be hidden with one click. The exact
    score is a measurement whose name says what it means. The features are streamed.

    RFC 7946 departures: coordinates are level-0 pixels, as QuPath writes them, not degrees. The
    exterior ring runs counter-clockwise by its numbers; since y points down, clockwise on screen.

    Args:
        path: the file to write.
        scores: the patches.
        name: what a high score stands for ("tumour"); the classes are named after it.
        thresholds: rising cuts in 0..1 between bands of the shown score.
        offset_l0: added to every corner, (x, y) in level-0 px. For a viewer that cuts a slide to
            its scanned bounds, give minus the corner of those bounds.

    Raises:
        ValueError: thresholds that do not rise from above 0 to below 1.
        UsageError: the file cannot be written.
    """
    bands = score_bands(name, thresholds, scores.kind == "attention")
    with whole_file(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as out:
        out.write('{"type":"FeatureCollection","wsikit":')
        out.write(_compact(_legend(scores, bands, offset_l0)))
        out.write(',"features":[')
        for i, feature in enumerate(_features(scores, bands, offset_l0)):
            out.write(",\n" if i else "\n")
            out.write(feature)
        out.write("\n]}\n")


def score_bands(name: str, thresholds: Sequence[float], percentile: bool) -> tuple[Band, ...]:
    """Cut 0..1 into named, coloured bands.

    Args:
        name: what a high score stands for.
        thresholds: rising cuts in 0..1.
        percentile: whether the shown score is a percentile / 100.

    Raises:
        ValueError: the cuts do not rise from above 0 to below 1.
    """
    edges = (0.0, *thresholds, 1.0)
    if any(not low < high for low, high in pairwise(edges)):
        raise ValueError(f"thresholds must rise from above 0 to below 1: {tuple(thresholds)}")
    # QuPath splits a class name at a colon into a class and its child, and allows no line break.
    title = " ".join(name.replace(":", " ").split()) or "score"
    unit, factor = ("percentile ", 100) if percentile else ("", 1)
    colours = heat(np.array([(low + high) / 2 for low, high in pairwise(edges)]))
    return tuple(
        Band(
            low,
            high,
            f"{title} {unit}{low * factor:.4g}-{high * factor:.4g}",
            (int(colour[0]), int(colour[1]), int(colour[2])),
        )
        for (low, high), colour in zip(pairwise(edges), colours, strict=True)
    )


def _legend(
    scores: PatchScores, bands: Sequence[Band], offset_l0: tuple[int, int]
) -> dict[str, object]:
    """Say what the file holds, as a foreign member that GeoJSON readers pass over."""
    return {
        "meaning": scores.meaning,
        "kind": scores.kind,
        "shown": scores.shown_meaning,
        "rank": "1 is the highest score in the slide",
        "frame": "level-0 pixels, origin top left, (x, y)",
        "offset_l0": list(offset_l0),
        "patches": len(scores.values),
        "classes": [
            {"name": band.name, "low": band.low, "high": band.high, "color": list(band.colour)}
            for band in bands
        ],
    }


def _features(
    scores: PatchScores, bands: Sequence[Band], offset_l0: tuple[int, int]
) -> Iterator[str]:
    """Yield each patch as one line of JSON."""
    xy0 = scores.xy_l0.astype(np.int64) + np.array(offset_l0, np.int64)
    xy1 = xy0 + np.array(scores.side_l0, np.int64)
    band_of = np.searchsorted([band.low for band in bands[1:]], scores.shown, side="right")
    heads = [
        f',"properties":{{"objectType":"tile","classification":'
        f"{_compact({'name': band.name, 'color': list(band.colour)})}"
        f',"measurements":{{{_compact(scores.meaning)}:'
        for band in bands
    ]
    # Its own percentile means something only where the classes are cut by it.
    second = ',"percentile":{:.4g}' if scores.kind == "attention" else ""
    columns = (xy0, xy1, band_of, scores.values, scores.percentile, scores.rank)
    for (x0, y0), (x1, y1), band, value, percentile, rank in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        yield (
            '{"type":"Feature","geometry":{"type":"Polygon","coordinates":'
            f"[[[{x0},{y0}],[{x1},{y0}],[{x1},{y1}],[{x0},{y1}],[{x0},{y0}]]]}}"
            f'{heads[band]}{value:.4g}{second.format(percentile)},"rank":{rank}}}}}}}'
        )


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
