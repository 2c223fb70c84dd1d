"""What may leave a slide's file: an allow-list, and nothing that is free text.

Headers of slides carry names, dates, users, bar codes and comments. Only the keys below are let
through, and only where their value is a number, a colour or a single word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from wsikit.slides.slide import Level

NUMBERS = (
    "mpp-x",
    "mpp-y",
    "objective-power",
    "bounds-x",
    "bounds-y",
    "bounds-width",
    "bounds-height",
)
"""Properties that hold one finite number."""

WORDS = {"vendor": re.compile(r"[a-z][a-z-]{0,31}"), "background-color": re.compile(r"[0-9A-F]{6}")}
"""Properties that hold one word, and what that word looks like."""


def safe_properties(raw: Mapping[str, object], levels: Sequence[Level]) -> dict[str, str]:
    """Return the properties of a slide that may be stored and shown.

    Args:
        raw: properties as a reader states them, by name without the reader's prefix.
        levels: the slide's levels, finest first.

    Returns:
        `vendor`, `background-color`, the `NUMBERS`, each where stated and well formed, and
        `level-count`, `level[i].width`, `level[i].height`, `level[i].downsample`.
    """
    safe = {}
    for key, pattern in WORDS.items():
        word = str(raw.get(key) or "")
        if pattern.fullmatch(word):
            safe[key] = word
    for key in NUMBERS:
        number = finite_number(raw.get(key))
        if number is not None:
            safe[key] = f"{number:.10g}"
    return safe | _level_properties(levels)


def finite_number(value: object) -> float | None:
    """Return what a header states as a number; None where it is none or is not finite."""
    if value is None:
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _level_properties(levels: Sequence[Level]) -> dict[str, str]:
    found = {"level-count": str(len(levels))}
    for index, level in enumerate(levels):
        found[f"level[{index}].width"] = str(level.size.width)
        found[f"level[{index}].height"] = str(level.size.height)
        found[f"level[{index}].downsample"] = f"{level.downsample[0]:.10g}"
    return found
