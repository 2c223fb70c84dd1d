"""A slide's patch scores as one picture: the bare tissue, and beside it the coloured one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsikit.heatmap.colours import HEAT_MAP, heat_lut
from wsikit.heatmap.paint import blend, mix, score_map
from wsikit.heatmap.scores import PatchScores
from wsikit.heatmap.sheet import Sheet, TruthOutline, clean, count_words, fit_panel
from wsikit.types import Mpp, UInt8Image


@dataclass(frozen=True)
class Words:
    """What the two pictures of a sheet show, in words.

    Attributes:
        bare: the left one.
        scored: the right one.
        whole: both, as that in which a known region is not found.
        rest: what is uncoloured; empty where nothing is.
    """

    bare: str
    scored: str
    whole: str
    rest: str


TISSUE = Words("tissue", "tissue with patch scores", "this slide", "uncoloured: not scored")


def draw_overlay(
    thumbnail: UInt8Image,
    thumbnail_scale: tuple[float, float],
    scores: PatchScores,
    mpp: Mpp,
    title: str,
    path: Path,
    *,
    alpha: float = 0.45,
    colours: str = HEAT_MAP,
    truth: TruthOutline | None = None,
    mpp_known: bool = True,
    words: Words = TISSUE,
) -> None:
    """Write a heatmap as PNG, ready to be looked at.

    Args:
        thumbnail: (h, w, 3) uint8, the whole slide, background too.
        thumbnail_scale: level-0 px per thumbnail px along x and y.
        scores: the slide's patches; a patch without a score stays bare.
        mpp: micrometres per level-0 px; where x and y differ, the picture is stretched to be true.
        title: first line of the sheet.
        path: the PNG to write.
        alpha: share of the colour over the tissue, 0..1.
        colours: one of `HEAT_MAPS`.
        truth: a known region to outline.
        mpp_known: draw a scale bar; without one `mpp` only says how x and y relate.
        words: what is seen.

    Raises:
        UsageError: the file cannot be written.
    """
    panel = fit_panel(thumbnail, thumbnail_scale, mpp)
    sheet = Sheet(panel, title)
    sheet.picture(0, panel.image, words.bare)
    painted = blend(panel.image, panel.scale, scores, alpha, colours)
    right = sheet.picture(1, painted, words.scored)
    said = [f"{count_words(len(scores.values), scores.unit)} scored", words.rest]
    if truth is not None:
        found = sheet.outline(right, truth)
        label = clean(truth.label)
        said.append(f"black line: {label}" if found else f"no {label} in {words.whole}")
    if mpp_known:
        sheet.scale_bar()
    sheet.caption("; ".join(filter(None, said)))
    _colour_bar(sheet, scores, alpha, colours)
    sheet.save(path)


def _colour_bar(sheet: Sheet, scores: PatchScores, alpha: float, colours: str) -> None:
    """Draw the colours as they look over this slide's tissue."""
    _, scored = score_map(sheet.panel.image.shape[:2], sheet.panel.scale, scores)
    tissue = np.full(3, 255.0) if not scored.any() else sheet.panel.image[scored].mean(axis=0)
    under = np.broadcast_to(np.rint(tissue).astype(np.uint8), (256, 3))
    gradient = mix(np.ascontiguousarray(under), heat_lut(colours), alpha)
    ticks = np.linspace(0, 1, 6).tolist()
    labels = [f"{t * 100:.0f}" if scores.by_percentile else f"{t:.1f}" for t in ticks]
    sheet.colour_bar(gradient, labels, scores.shown_meaning)
