"""Apply a rule on pixels strip by strip.

A rule of several NumPy steps makes a temporary picture at each. Those of a whole overview do not
fit into the processor's cache, and each page of them is new to the process: strips of a few rows
take a third of the time and give the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wsikit.types import BoolMask, FloatArray

ROWS = 32
"""Rows of a strip: of an overview 4,096 px wide, 1.5 MB of float32 densities."""


def mask_by_strips(rule: Callable[[FloatArray], BoolMask], density: FloatArray) -> BoolMask:
    """Apply a rule that looks at each pixel alone.

    Args:
        rule: (3, n, w) float32 in, (n, w) bool out.
        density: (3, h, w) float32.

    Returns:
        (h, w) bool, what `rule(density)` is.
    """
    mask = np.empty(density.shape[1:], np.bool_)
    for top in range(0, len(mask), ROWS):
        mask[top : top + ROWS] = rule(density[:, top : top + ROWS])
    return mask
