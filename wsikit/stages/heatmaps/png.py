"""The picture: tissue, and beside it tissue with scores, as PNG; pictures likewise."""

from __future__ import annotations

from pathlib import Path

from wsikit.heatmap.overlay import draw_overlay
from wsikit.stages.heatmaps.overview import overview
from wsikit.stages.heatmaps.slide_heatmap import SlideHeatmap
from wsikit.stages.heatmaps.title import title_of


def write(slide: SlideHeatmap, folder: Path) -> None:
    """Write `<slide_id>.png`."""
    stored, shown = slide.stored, overview(slide)
    draw_overlay(
        shown.image,
        shown.scale,
        shown.scores,
        stored.mpp_l0,
        title_of(slide),
        folder / f"{slide.slide_id}.png",
        alpha=slide.config.alpha,
        colours=slide.config.colours,
        truth=shown.truth,
        mpp_known=stored.mpp_known,
        words=shown.words,
    )
