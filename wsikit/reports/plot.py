"""Plots in the unit square as plain numbers for inline SVG, which follows the page's colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsikit.reports.calibration import CalibrationBin
from wsikit.reports.sections import FrocCurve
from wsikit.reports.text import number
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
class Tick:
    """A number beside an axis: where it stands, in SVG units from the origin, and its text."""

    at: float
    words: str


FIFTHS = tuple(Tick(SIDE * k / 5, f"{k / 5:.1f}") for k in range(6))


@dataclass(frozen=True)
class Plot:
    """A square plot: axis words, lines and dots.

    Attributes:
        title: what it is.
        x_words: what the axis to the right shows.
        y_words: what the axis upwards shows.
        lines: curves.
        dots: points with an interval.
        x_ticks: numbers along the axis to the right.
        y_ticks: numbers along the axis upwards.
        diagonal: whether the line from corner to corner means something.
        side: in SVG units.
    """

    title: str
    x_words: str
    y_words: str
    lines: Sequence[Line] = ()
    dots: Sequence[Dot] = ()
    x_ticks: Sequence[Tick] = FIFTHS
    y_ticks: Sequence[Tick] = FIFTHS
    diagonal: bool = True
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


def calibration_plot(bins: Sequence[CalibrationBin], y_words: str) -> Plot:
    """Lay calibration groups out, each with its interval."""
    dots = [Dot(_x(b.predicted), _y(b.observed), _y(b.low), _y(b.high), str(b)) for b in bins]
    return Plot("Calibration", "predicted probability", y_words, dots=dots)


LEAST_RATE, MOST_RATE = 1 / 8, 8.0
"""False alarms a slide at the ends of a FROC plot, whose axis doubles from line to line."""


def froc_plot(curve: FrocCurve) -> Plot:
    """Lay a FROC curve out as steps, with a dot and interval at each rate that is read off."""
    rises = np.diff(curve.sensitivity, prepend=-1.0) > 0  # the curve bends nowhere else
    shown = rises & (curve.rates <= MOST_RATE)
    rates = np.r_[curve.rates[shown], MOST_RATE]
    after = np.r_[curve.sensitivity[shown], curve.sensitivity[shown][-1]]
    before = np.r_[after[0], after[:-1]]
    x = np.repeat([_doublings(rate) for rate in rates.tolist()], 2)
    y = np.stack([before, after], axis=1).ravel()
    dots = [
        Dot(
            _x(_doublings(rate)),
            _y(found.value or 0.0),
            _y(found.low if found.low is not None else found.value or 0.0),
            _y(found.high if found.high is not None else found.value or 0.0),
            f"{rate:g} false alarms a slide: {number(found)}",
        )
        for rate, found in curve.at_rates.items()
    ]
    line = Line("FROC", "", _points(x, y), True, "")
    ticks = [Tick(_x(_doublings(2.0**k)), _as_share(k)) for k in range(-3, 4)]
    return Plot(
        "FROC", "false alarms a slide", "share of lesions found",
        [line], dots, x_ticks=ticks, diagonal=False,
    )  # fmt: skip


def _doublings(rate: float) -> float:
    """Place a rate on the axis, 0 to 1; what is below its left end stands there."""
    span = np.log2(MOST_RATE / LEAST_RATE)
    return float(np.log2(max(rate, LEAST_RATE) / LEAST_RATE) / span)


def _as_share(power: int) -> str:
    return f"1/{2**-power}" if power < 0 else str(2**power)


def _points(x: FloatArray | NDArray[np.float64], y: FloatArray | NDArray[np.float64]) -> str:
    keep = np.arange(len(x))
    if len(x) > MOST_POINTS:
        keep = np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).round().astype(np.int64))
    return " ".join(f"{_x(float(x[i])):g},{_y(float(y[i])):g}" for i in keep)


def _x(value: float) -> float:
    return round(value * SIDE, 1)


def _y(value: float) -> float:
    return round((1 - value) * SIDE, 1)
