"""The classes of a score file: what QuPath's class list says, and in which colours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from wsikit.heatmap.colours import heat
from wsikit.heatmap.scores import PatchScores


@dataclass(frozen=True)
class Band:
    """A range of shown scores with the colour of its middle.

    Attributes:
        low: lowest shown score of the band, in 0..1.
        high: the next band's lowest; the last band includes it.
        name: the class of a patch whose score is in the band.
        from_name: the class of an area of patches in this band or a higher one.
        colour: RGB, each 0..255.
    """

    low: float
    high: float
    name: str
    from_name: str
    colour: tuple[int, int, int]


def score_bands(scores: PatchScores, name: str, thresholds: Sequence[float]) -> tuple[Band, ...]:
    """Cut 0..1 into named, coloured bands.

    Args:
        scores: the patches; they say what a shown score is.
        name: what a high score stands for ("tumour").
        thresholds: rising cuts in 0..1.

    Raises:
        ValueError: the cuts do not rise from above 0 to below 1.
    """
    edges = (0.0, *thresholds, 1.0)
    if any(not low < high for low, high in pairwise(edges)):
        raise ValueError(f"thresholds must rise from above 0 to below 1: {tuple(thresholds)}")
    # QuPath splits a class name at a colon into a class and its child, and allows no line break.
    title = " ".join(name.replace(":", " ").split()) or "score"
    unit, factor = _unit(scores)
    colours = heat(np.array([(low + high) / 2 for low, high in pairwise(edges)]))
    return tuple(
        Band(
            low,
            high,
            f"{title} {unit}{low * factor:.4g}-{high * factor:.4g}",
            f"{title} {unit}>= {low * factor:.4g}",
            (int(colour[0]), int(colour[1]), int(colour[2])),
        )
        for (low, high), colour in zip(pairwise(edges), colours, strict=True)
    )


def _unit(scores: PatchScores) -> tuple[str, int]:
    """Return what a class name counts in, and how many of it a shown score of 1 is."""
    if scores.by_percentile:
        return "percentile ", 100
    return ("share of highest ", 1) if scores.kind == "attention" else ("", 1)


def band_of(scores: PatchScores, bands: Sequence[Band]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the number of each patch's band, (N,) int64; a score on a cut is in the upper one."""
    return np.searchsorted([band.low for band in bands[1:]], scores.shown, side="right")


def compact(value: object) -> str:
    """Write JSON without blanks, in ASCII, and refuse what is no JSON number."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
