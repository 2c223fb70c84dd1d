"""Colour the patches of a thumbnail: pixels in, pixels out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsikit.compiled import compiled
from wsikit.heatmap.colours import HEAT_MAP, OKABE_ITO, heat_lut
from wsikit.heatmap.scores import PatchScores
from wsikit.types import Size, UInt8Image


def blend(
    thumbnail: UInt8Image,
    scale: tuple[float, float],
    scores: PatchScores,
    alpha: float = 0.45,
    colours: str = HEAT_MAP,
) -> UInt8Image:
    """Lay the colour of each patch's score over a thumbnail.

    A pixel takes part where its centre lies in a patch; where patches overlap, their mean is shown.
    Pixels outside every patch are returned as they came.

    Args:
        thumbnail: (h, w, 3) uint8, its corner at the origin of the level-0 frame.
        scale: level-0 px per thumbnail px along x and y.
        scores: the patches of the same slide.
        alpha: share of the colour, 0 (tissue only) to 1 (colour only).
        colours: one of `HEAT_MAPS`.

    Returns:
        (h, w, 3) uint8.
    """
    return paint(thumbnail, *score_map(thumbnail.shape[:2], scale, scores), alpha, colours)


def paint(
    image: UInt8Image,
    shown: NDArray[np.float64],
    scored: NDArray[np.bool_],
    alpha: float,
    colours: str = HEAT_MAP,
) -> UInt8Image:
    """Lay colours over the pixels that have a score; the others are returned as they came.

    Args:
        image: (h, w, 3) uint8.
        shown: (h, w) in 0..1.
        scored: (h, w), which pixels have one.
        alpha: share of the colour, 0..1.
        colours: one of `HEAT_MAPS`.
    """
    out = image.copy()
    over = heat_lut(colours).astype(np.float32) * np.float32(alpha)
    _mix_where(out, shown, scored, over, np.float32(1 - alpha))
    return out


@compiled
def _mix_where(
    image: UInt8Image,
    shown: NDArray[np.float64],
    scored: NDArray[np.bool_],
    over: NDArray[np.float32],
    keep: np.float32,
) -> None:
    """Blend in place, as `mix` does; an overlay of a whole slide has 10^8 pixels and more."""
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if scored[y, x]:
                step = int(min(max(np.rint(shown[y, x] * 255), 0), 255))
                for c in range(3):
                    mixed = np.float32(image[y, x, c]) * keep + over[step, c]
                    image[y, x, c] = np.uint8(np.floor(mixed + np.float32(0.5)))


def score_map(
    shape: tuple[int, ...], scale: tuple[float, float], scores: PatchScores
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the shown score of every thumbnail pixel, and which pixels have one.

    Args:
        shape: (h, w) of the thumbnail.
        scale: level-0 px per thumbnail px along x and y.
        scores: the patches.

    Returns:
        (h, w) float64 in 0..1, zero where nothing was scored, and (h, w) bool.
    """
    return value_map(shape, scale, scores.xy_l0, scores.side_l0, scores.shown)


def value_map(
    shape: tuple[int, ...],
    scale: tuple[float, float],
    xy_l0: NDArray[np.integer] | NDArray[np.floating],
    side_l0: Size,
    values: NDArray[np.floating],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the mean value of the patches that each pixel's centre lies in, and where any is.

    Args:
        shape: (h, w) of a picture.
        scale: level-0 px per pixel along x and y.
        xy_l0: (N, 2) top left corners, x and y in level-0 px from the picture's own corner.
        side_l0: width and height of a patch in level-0 px.
        values: (N,).

    Returns:
        (h, w) float64, zero where no patch is, and (h, w) bool.
    """
    count = _sum_over_patches(shape, scale, xy_l0, side_l0, None)
    total = _sum_over_patches(shape, scale, xy_l0, side_l0, values.astype(np.float64))
    scored = count > 0.5
    return np.divide(total, count, out=np.zeros(count.shape), where=scored), scored


def blend_clusters(
    thumbnail: UInt8Image,
    scale: tuple[float, float],
    xy_l0: NDArray[np.int32],
    side_l0: Size,
    clusters: NDArray[np.integer],
    alpha: float = 0.55,
) -> UInt8Image:
    """Lay the colour of each patch's cluster over a thumbnail.

    Args:
        thumbnail: (h, w, 3) uint8, its corner at the origin of the level-0 frame.
        scale: level-0 px per thumbnail px along x and y.
        xy_l0: (N, 2) int32, top left corners, x and y in level-0 px.
        side_l0: width and height of a patch in level-0 px.
        clusters: (N,) integers in 0..7. Where patches overlap, the commonest cluster is shown.
        alpha: share of the colour, 0..1.

    Returns:
        (h, w, 3) uint8.

    Raises:
        ValueError: a cluster has no colour of its own.
    """
    if clusters.size and (clusters.min() < 0 or clusters.max() >= len(OKABE_ITO)):
        raise ValueError(f"clusters must be numbered 0..{len(OKABE_ITO) - 1}")
    count = int(clusters.max()) + 1 if clusters.size else 1
    shape = thumbnail.shape[:2]
    votes = np.stack(
        [_sum_over_patches(shape, scale, xy_l0[clusters == k], side_l0, None) for k in range(count)]
    )
    winner, scored = votes.argmax(axis=0), votes.max(axis=0) > 0.5
    out = thumbnail.copy()
    colours = np.array(OKABE_ITO, np.uint8)[winner[scored]]
    out[scored] = mix(thumbnail[scored], colours, alpha)
    return out


def mix(under: UInt8Image, over: UInt8Image, alpha: float) -> UInt8Image:
    """Blend two equally shaped uint8 colours, rounding to nearest."""
    mixed = under.astype(np.float32) * (1 - alpha) + over.astype(np.float32) * alpha
    return np.floor(mixed + 0.5).astype(np.uint8)


def _sum_over_patches(
    shape: tuple[int, ...],
    scale: tuple[float, float],
    xy_l0: NDArray[np.integer] | NDArray[np.floating],
    side_l0: Size,
    weights: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Add up, at each pixel, the weights of the patches that its centre lies in.

    Each patch writes to its four corners only; two running sums fill the rectangles, so the cost
    does not grow with the size of a patch.
    """
    height, width = int(shape[0]), int(shape[1])
    weight = np.ones(len(xy_l0)) if weights is None else weights
    x0, x1 = _pixels(xy_l0[:, 0], side_l0.width, scale[0], width)
    y0, y1 = _pixels(xy_l0[:, 1], side_l0.height, scale[1], height)
    corners = np.zeros((height + 1, width + 1))
    for rows, cols, sign in ((y0, x0, 1), (y0, x1, -1), (y1, x0, -1), (y1, x1, 1)):
        np.add.at(corners, (rows, cols), sign * weight)
    sums: NDArray[np.float64] = corners.cumsum(axis=0).cumsum(axis=1)[:height, :width]
    return sums


def _pixels(
    start_l0: NDArray[np.integer] | NDArray[np.floating], side_l0: int, scale: float, limit: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the half-open range of pixels whose centres lie in `[start, start + side)`."""
    first = np.ceil(start_l0 / scale - 0.5).astype(np.int64)
    last = np.ceil((start_l0.astype(np.float64) + side_l0) / scale - 0.5).astype(np.int64)
    return np.clip(first, 0, limit), np.clip(last, 0, limit)
