"""Tell a patch in focus from one that is not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsikit.compiled import compiled
from wsikit.types import UInt8Image

SHARPNESS_CUT = 0.06
"""A patch below this is out of focus: see `docs/filters.md` for where the figure comes from."""

COARSEST_MPP = 1.25
"""Micrometres per pixel above which pixels are too large to show a lack of focus."""

SHORT_UM = 1.0
LONG_UM = 8.0
"""Distances at which differences are taken: about an edge's width in focus, and a nucleus."""

LEAST_CONTRAST = 4.0
"""Root mean square of the differences over `LONG_UM`, grey levels, below which nothing is seen."""

LINES = 16
"""Rows looked at, and columns."""

GREEN = 1
"""The channel both stains absorb."""


def sharpness(patch: UInt8Image, mpp: tuple[float, float]) -> float:
    """Measure how much of a patch's contrast arises within a micrometre.

    The mean squared difference of green between points 1 um apart, over that between points 8 um
    apart, on 16 rows and 16 columns: a point of the variogram over another. The amount of stain
    and of tissue cancels out, so pale stroma and fat are judged by how steep their few edges are.
    In focus an edge is about 1 um wide; blur moves its contrast to longer distances.

    Args:
        patch: (H, W, 3) uint8.
        mpp: um per pixel along x and y.

    Returns:
        About 0.13 to 1 in focus, 0.02 to 0.05 where blurred by 2 um (standard deviation) and more.
        1 where nothing can be said: no contrast, patches shorter than 8 um, or pixels above
        `COARSEST_MPP`.
    """
    height, width = patch.shape[:2]
    short_x, short_y = (max(1, round(SHORT_UM / side)) for side in mpp)
    long_x, long_y = (round(LONG_UM / side) for side in mpp)
    if max(mpp) > COARSEST_MPP or width <= long_x or height <= long_y:
        return 1.0
    green = patch[..., GREEN]
    near = _mean_square(green, short_x) + _mean_square(green.T, short_y)
    far = _mean_square(green, long_x) + _mean_square(green.T, long_y)
    return near / far if far > 2 * LEAST_CONTRAST**2 else 1.0


@compiled
def _mean_square(plane: NDArray[np.uint8], distance: int) -> float:
    """Return the mean squared difference along `LINES` rows, spread evenly over a plane."""
    height, width = plane.shape
    lines = min(LINES, height)
    total = np.int64(0)
    for line in range(lines):
        row = (2 * line + 1) * height // (2 * lines)
        for i in range(width - distance):
            difference = np.int64(plane[row, i + distance]) - np.int64(plane[row, i])
            total += difference * difference
    return float(total / (lines * (width - distance)))
