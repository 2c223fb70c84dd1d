"""Numbers and names as a reader sees them."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import NamedTuple

from markupsafe import Markup, escape

ALIKE = "all resamples alike"
"""Stands in place of an interval without width, which would claim what a few slides cannot show."""


class Estimate(NamedTuple):
    """A measured number with its 95 % confidence interval.

    Attributes:
        value: None or NaN where it could not be computed.
        low: lower end; None where there is no interval.
        high: upper end; None where there is no interval.
        why: why there is no value ("only one class in this fold").
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str = ""


def number(estimate: Estimate) -> str:
    """Write an estimate: ``0.93 (95 % CI 0.81-0.99)``, or ``n/a`` and why."""
    value, low, high, why = estimate
    if value is None or not math.isfinite(value):
        return f"n/a ({why or 'not enough slides to compute it'})"
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return f"{value:.2f} (no interval)"
    if low == high:
        return f"{value:.2f} ({ALIKE})"
    return f"{value:.2f} (95 % CI {low:.2f}\N{EN DASH}{high:.2f})"


def signed(estimate: Estimate) -> str:
    """Write a difference: ``+0.03 (95 % CI -0.02 to +0.08)``, or ``n/a`` and why."""
    value, low, high, why = estimate
    if value is None or not math.isfinite(value):
        return f"n/a ({why or 'not enough slides to compute it'})"
    if low is None or high is None:
        return f"{_with_sign(value)} (no interval)"
    if low == high:
        return f"{_with_sign(value)} ({ALIKE})"
    return f"{_with_sign(value)} (95 % CI {_with_sign(low)} to {_with_sign(high)})"


def interval(estimate: Estimate) -> str:
    """Write an estimate's interval alone, as under a table's heading: ``0.81-0.99``."""
    _, low, high, _ = estimate
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "no interval"
    if low == high:
        return ALIKE
    return f"{low:.2f}\N{EN DASH}{high:.2f}"


def _with_sign(value: float) -> str:
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", "\N{MINUS SIGN}")


def share(value: float | None) -> str:
    """Write a probability or share with two decimals, or ``n/a``."""
    return "n/a" if value is None or not math.isfinite(value) else f"{value:.2f}"


def clean(value: object) -> object:
    """Replace control characters of untrusted text, which no page may hold; leave all else alone.

    Markup (the page's own) and what is not text pass through.
    """
    if not isinstance(value, str) or isinstance(value, Markup):
        return "" if value is None else value
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cs") else c for c in value
    )


def breakable(name: str | None) -> Markup:
    """Escape a name and let lines break after its `_`, `-` and `.`, and not inside its words."""
    return Markup(re.sub(r"([_.-]+)(?!$|[_.-])", r"\1<wbr>", str(escape(clean(name)))))
