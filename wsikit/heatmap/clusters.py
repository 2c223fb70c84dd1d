"""A first look without labels: which patches resemble each other, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from wsikit.heatmap.colours import OKABE_ITO
from wsikit.heatmap.paint import blend_clusters
from wsikit.heatmap.sheet import FONT, Sheet, clean, count_words, fit_panel, legend_axes, shorten
from wsikit.types import Mpp, Size, UInt8Image


def draw_clusters(
    thumbnail: UInt8Image,
    thumbnail_scale: tuple[float, float],
    xy_l0: NDArray[np.int32],
    side_l0: Size,
    clusters: NDArray[np.integer],
    mpp: Mpp,
    title: str,
    path: Path,
    *,
    names: Sequence[str] | None = None,
    alpha: float = 0.55,
) -> None:
    """Write a map of patch groups as PNG, with a legend that counts each group's patches.

    Args:
        thumbnail: (h, w, 3) uint8, the whole slide, background too.
        thumbnail_scale: level-0 px per thumbnail px along x and y.
        xy_l0: (N, 2) int32, top left corners, x and y in level-0 px.
        side_l0: width and height of a patch in level-0 px.
        clusters: (N,) integers in 0..7.
        mpp: micrometres per level-0 px.
        title: first line of the sheet.
        path: the PNG to write.
        names: what to call the groups, by number; ``group 1``, ``group 2``, ... where absent.
        alpha: share of the colour over the tissue, 0..1.

    Raises:
        ValueError: more groups than there are colours to tell apart, or too few names.
        UsageError: the file cannot be written.
    """
    panel = fit_panel(thumbnail, thumbnail_scale, mpp)
    painted = blend_clusters(panel.image, panel.scale, xy_l0, side_l0, clusters, alpha)
    sheet = Sheet(panel, title)
    sheet.picture(0, panel.image, "tissue")
    sheet.picture(1, painted, "tissue with groups of similar patches")
    sheet.scale_bar()
    sheet.caption(
        f"{count_words(len(clusters), 'patch')}; uncoloured: not kept. "
        "Groups are found by similarity alone and say nothing of disease."
    )
    _legend(sheet, clusters, names)
    sheet.save(path)


def _legend(sheet: Sheet, clusters: NDArray[np.integer], names: Sequence[str] | None) -> None:
    """List the groups: a swatch, the name, the number of patches."""
    counts = np.bincount(clusters, minlength=1) if clusters.size else np.zeros(0, np.int64)
    if names is not None and len(names) < len(counts):
        raise ValueError(f"{len(counts)} groups but {len(names)} names")
    rows = [
        f"{shorten(clean(names[k]), 14) if names is not None else f'group {k + 1}'} ({count:,})"
        for k, count in enumerate(counts)
    ]
    if not rows:
        return
    axes = legend_axes(sheet, rows)
    for k, row in enumerate(rows):
        colour = tuple(channel / 255 for channel in OKABE_ITO[k])
        axes.add_patch(Rectangle((0, 24 * k + 3), 18, 18, facecolor=colour, edgecolor="#1a1a1a"))
        axes.text(26, 24 * k + 12, row, va="center", fontsize=10, fontfamily=FONT, parse_math=False)
