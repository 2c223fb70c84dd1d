"""Plots in the unit square as plain numbers for inline SVG, which follows the page's colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsikit.reports.calibration import CalibrationBin
from wsikit.types import FloatArray

SIDE = 320.0
"""Side of the square in SVG units; the template adds the margins for axes."""

MOST_POINTS = 400
"""A curve of more points is thinned: the eye sees no more, and the page stays small."""


@dataclass(frozen=True)
class Curve:
    """A curve before it is drawn.

    Attributes:
        name: for the legend.
        x: (K,) in 0..1.
        y: (K,) in 0..1.
        words: what the legend says of it.
        bold: whether it is the main one.
    """

    name: str
    x: FloatArray | NDArray[np.float64]
    y: FloatArray | NDArray[np.float64]
    words: str
    bold: bool


@dataclass(frozen=True)
class Line:
    """A curve as drawn: `points` is the attribute of an SVG polyline, `dash` its pattern."""

    name: str
    words: str
    points: str
    bold: bool
    dash: str


@dataclass(frozen=True)
class Dot:
    """A measured point with its interval, in SVG units."""

    x: float
    y: float
    low: float
    high: float
    words: str


@dataclass(frozen=True)
class Plot:
    """A square plot: axis words, lines and dots."""

    title: str
    x_words: str
    y_words: str
    lines: Sequence[Line] = ()
    dots: Sequence[Dot] = ()
    side: float = SIDE


DASHES = ("7 3", "2 3", "10 3 2 3", "4 4", "12 4", "1 4")


def roc_plot(curves: Sequence[Curve]) -> Plot:
    """Lay ROC curves out; folds differ by dash, the pooled one is thick and solid."""
    lines = [
        Line(
            curve.name,
            curve.words,
            _points(curve.x, curve.y),
            curve.bold,
            "" if curve.bold else DASHES[i % len(DASHES)],
        )
        for i, curve in enumerate(curves)
    ]
    return Plot("ROC", "1 \N{MINUS SIGN} specificity", "sensitivity", lines)


def calibration_plot(bins: Sequence[CalibrationBin]) -> Plot:
    """Lay calibration groups out, each with its interval."""
    dots = [Dot(_x(b.predicted), _y(b.observed), _y(b.low), _y(b.high), str(b)) for b in bins]
    return Plot("Calibration", "predicted probability", "share that was positive", dots=dots)


def _points(x: FloatArray | NDArray[np.float64], y: FloatArray | NDArray[np.float64]) -> str:
    keep = np.arange(len(x))
    if len(x) > MOST_POINTS:
        keep = np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).round().astype(np.int64))
    return " ".join(f"{_x(float(x[i])):g},{_y(float(y[i])):g}" for i in keep)


def _x(value: float) -> float:
    return round(value * SIDE, 1)


def _y(value: float) -> float:
    return round((1 - value) * SIDE, 1)
