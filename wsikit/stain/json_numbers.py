"""Read numbers from JSON that somebody else may have written.

Each function raises ValueError or TypeError, in words that complete "cannot be read: ...".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsikit.stain.sample import Triple

MAX_COUNT = 2**52
"""More pixels than this are no count: sums stay exact below it."""


def triple(value: object, low: float, high: float) -> Triple:
    """Read three finite numbers within `[low, high]`."""
    numbers = _floats(value, 3, low, high)
    return (numbers[0], numbers[1], numbers[2])


def pair(value: object, low: float, high: float) -> tuple[float, float]:
    """Read two finite numbers within `[low, high]`."""
    numbers = _floats(value, 2, low, high)
    return (numbers[0], numbers[1])


def number(value: object, low: float, high: float) -> float:
    """Read one finite number within `[low, high]`."""
    return _floats([value], 1, low, high)[0]


def counts_or_values(value: object, high: int = MAX_COUNT) -> NDArray[np.int64]:
    """Read three lists of 256 whole numbers within `[0, high]`, (3, 256) int64."""
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError("it is not three lists of 256 numbers")
    for channel in value:
        if not isinstance(channel, list) or len(channel) != 256:
            raise ValueError("it is not three lists of 256 numbers")
        if not all(type(n) is int and 0 <= n <= high for n in channel):
            raise ValueError(f"it holds something else than whole numbers from 0 to {high}")
    return np.array(value, np.int64)


def _floats(value: object, length: int, low: float, high: float) -> list[float]:
    if not isinstance(value, list | tuple) or len(value) != length:
        raise ValueError(f"it lacks {length} numbers in a row")
    for n in value:
        if type(n) not in (int, float) or not low <= n <= high:
            raise ValueError(f"{n!r:.40} is no number from {low:g} to {high:g}")
    return [float(n) for n in value]
