"""The RGB background filter of CN115409783A: bright pixels, and pixels among bright pixels."""

from __future__ import annotations

from typing import Literal

import numpy as np

from wsikit.compiled import compiled
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
    out = np.empty(image.shape[:2], np.bool_)
    _mark_bright(image, threshold, rule == "any", out)
    return out


@compiled
def _mark_bright(image: UInt8Image, threshold: int, one_is_enough: bool, out: BoolMask) -> None:
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            red = image[y, x, 0] > threshold
            green = image[y, x, 1] > threshold
            blue = image[y, x, 2] > threshold
            if one_is_enough:
                out[y, x] = red | green | blue
            else:
                out[y, x] = red & green & blue


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
    allowed = int((1 - NEIGHBOURHOOD_SHARE) * window_px * window_px + 1e-9)
    out = np.empty(background.shape, np.bool_)
    _mark_foreground(background, window_px, allowed, out)
    return out


@compiled
def _mark_foreground(background: BoolMask, window: int, allowed: int, out: BoolMask) -> None:
    """Mark tissue pixels with more than `allowed` tissue pixels in the window around them.

    Column sums over the window's rows are kept up from one row to the next, and a running sum along
    x over those: each pixel costs two additions, whatever the window.
    """
    height, width = background.shape
    before = window // 2
    after = window - before  # the window is [i - before, i + after)
    columns = np.zeros(width, np.int32)
    for row in range(min(after - 1, height)):
        for x in range(width):
            columns[x] += not background[row, x]
    for y in range(height):
        if y + after - 1 < height:
            for x in range(width):
                columns[x] += not background[y + after - 1, x]
        if y - before - 1 >= 0:
            for x in range(width):
                columns[x] -= not background[y - before - 1, x]
        count = 0
        for x in range(min(after - 1, width)):
            count += columns[x]
        for x in range(width):
            if x + after - 1 < width:
                count += columns[x + after - 1]
            if x - before - 1 >= 0:
                count -= columns[x - before - 1]
            out[y, x] = (not background[y, x]) and count > allowed
