"""Show on a slide's thumbnail which patches were kept, and what dropped the others."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from wsikit.geometry import PatchGrid
from wsikit.heatmap.colours import OKABE_ITO
from wsikit.heatmap.paint import mix
from wsikit.heatmap.sheet import FONT, Panel, Sheet, count_words, fit_panel, legend_axes
from wsikit.store.decisions import KEPT, REASONS, Decisions
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import BoolMask, UInt8Image

LONGER_PX = 880
"""Longer side of each of the two pictures; the sheet is at most about 2,000 px long."""

LINE = (0, 70, 50)
"""Around kept patches: dark green, which stained tissue does not hold and no tint comes near."""

GRID_FROM_PX = 9
"""Patches this large on the sheet are outlined one by one, smaller ones as a whole."""


class Mark(NamedTuple):
    """How the patches of one reason look.

    Attributes:
        colour: laid over the tissue.
        alpha: its share.
        stripes: which way it is striped, so that colour is not all that tells it from others:
            (x, y) steps along which the stripes repeat; (0, 0): not striped.
    """

    colour: tuple[int, int, int]
    alpha: float
    stripes: tuple[int, int] = (0, 0)


MARKS = {
    "tissue": Mark((90, 90, 90), 0.30),
    "rgb": Mark(OKABE_ITO[1], 0.65, (1, 2)),
    "entropy": Mark(OKABE_ITO[3], 0.65, (0, 1)),
    "blur": Mark(OKABE_ITO[0], 0.70, (1, 1)),
    "region": Mark((0, 0, 0), 0.55, (1, -1)),
    "damaged": Mark(OKABE_ITO[5], 0.90, (1, 0)),
}
"""One mark a reason to drop a patch; colours that colour-blind readers tell apart."""


def write_preview(stored: StoredSlide, path: Path) -> None:
    """Write a PNG of the bare thumbnail and, beside it, what became of every patch.

    Kept patches are outlined and show their tissue; the others are tinted and striped by the
    filter that dropped them, and a legend counts each.

    Args:
        stored: the slide.
        path: the PNG to write.

    Raises:
        StoreError: the stored slide is damaged.
        UsageError: the file cannot be written.
    """
    panel = fit_panel(stored.thumbnail(), stored.thumbnail_scale, stored.mpp_l0, LONGER_PX)
    decisions = stored.decisions
    sheet = Sheet(panel, stored.slide_id)
    sheet.picture(0, panel.image, "tissue")
    sheet.picture(1, paint_decisions(panel, stored.grid, decisions), "patches, kept and dropped")
    sheet.scale_bar()
    counts = decisions.counts()
    kept, total = counts["kept"], decisions.reason.size
    sheet.caption(
        f"{kept:,} of {count_words(total, 'patch')} kept ({kept / max(1, total):.1%}), outlined; "
        "coloured: dropped"
    )
    _legend(sheet, counts)
    sheet.save(path)


def paint_decisions(panel: Panel, grid: PatchGrid, decisions: Decisions) -> UInt8Image:
    """Tint dropped patches and outline kept ones.

    A pixel belongs to the patch its centre lies in.

    Args:
        panel: the thumbnail.
        grid: the slide's patch grid.
        decisions: what became of each patch.

    Returns:
        (h, w, 3) uint8, as large as the panel.
    """
    row = _patch_of(panel.size.height, panel.scale[1], grid.patch_px * grid.scale[1], grid.rows)
    col = _patch_of(panel.size.width, panel.scale[0], grid.patch_px * grid.scale[0], grid.cols)
    reason = decisions.reason[np.ix_(row, col)]
    out = panel.image.copy()
    for name, mark in MARKS.items():
        _tint(out, reason == REASONS.index(name), mark)
    kept = reason == KEPT
    side_px = grid.patch_px * min(grid.scale[0] / panel.scale[0], grid.scale[1] / panel.scale[1])
    lines = _border(kept)
    if side_px >= GRID_FROM_PX:
        lines |= _border(kept & ~lines)
        lines |= kept & (_steps(row)[:, None] | _steps(col)[None, :])
    out[lines] = LINE
    return out


def _patch_of(pixels: int, scale: float, patch_l0: float, count: int) -> NDArray[np.int64]:
    """Return the row or column of the patch that each pixel's centre lies in."""
    number = np.floor((np.arange(pixels) + 0.5) * scale / patch_l0).astype(np.int64)
    return np.asarray(np.minimum(number, count - 1))


def _tint(image: UInt8Image, where: BoolMask, mark: Mark) -> None:
    """Lay a mark over some pixels, half as strong between the stripes."""
    y, x = np.nonzero(where)
    along = (mark.stripes[0] * x + mark.stripes[1] * y) % 6 < 3
    for part, alpha in ((along, mark.alpha), (~along, mark.alpha / 2)):
        ys, xs = y[part], x[part]
        over = np.broadcast_to(np.array(mark.colour, np.uint8), (len(ys), 3))
        image[ys, xs] = mix(image[ys, xs], np.ascontiguousarray(over), alpha)


def _border(kept: BoolMask) -> BoolMask:
    """Mark the pixels of kept patches that touch another, or the picture's edge."""
    around = np.pad(kept, 1)
    inner = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return np.asarray(kept & ~inner)


def _steps(number: NDArray[np.int64]) -> BoolMask:
    """Mark the first pixel of every patch along one axis, the very first apart."""
    return np.asarray(np.r_[False, number[1:] != number[:-1]])


def _legend(sheet: Sheet, counts: dict[str, int]) -> None:
    """List the reasons that occur: a swatch as on the picture, the name, the number of patches."""
    dropped = [reason for reason in MARKS if counts[reason]]
    axes = legend_axes(sheet, ["kept", "dropped by", *dropped])
    words = [f"kept ({counts['kept']:,})", "dropped by", *(f"{r} ({counts[r]:,})" for r in dropped)]
    for line, reason in enumerate(["kept", "", *dropped]):
        top = 24 * line + 3
        if reason:
            edges = (0, 18, top + 18, top)
            axes.imshow(_swatch(reason), extent=edges, interpolation="none", aspect="auto")
            axes.add_patch(Rectangle((0, top), 18, 18, fill=False, edgecolor="#1a1a1a", lw=0.6))
        axes.text(
            26 if reason else 0, top + 9, words[line],
            va="center", fontsize=10, fontfamily=FONT, parse_math=False,
        )  # fmt: skip
    axes.set_xlim(0, axes.bbox.width)
    axes.set_ylim(24 * len(words), 0)


def _swatch(reason: str) -> UInt8Image:
    """Return how patches of a reason look, over something pale."""
    swatch = np.full((18, 18, 3), (240, 236, 240), np.uint8)
    whole = np.ones((18, 18), np.bool_)
    if reason in MARKS:
        _tint(swatch, whole, MARKS[reason])
    else:
        swatch[_border(whole)] = LINE
    return swatch
