"""The picture: tissue, and beside it tissue with scores, as PNG."""

from __future__ import annotations

from pathlib import Path

from wsikit.heatmap.overlay import draw_overlay
from wsikit.stages.heatmaps.slide_heatmap import SlideHeatmap
from wsikit.stages.heatmaps.title import title_of


def write(slide: SlideHeatmap, folder: Path) -> None:
    """Write `<slide_id>.png`."""
    stored = slide.stored
    draw_overlay(
        stored.thumbnail(),
        stored.thumbnail_scale,
        slide.scores,
        stored.mpp_l0,
        title_of(slide),
        folder / f"{slide.slide_id}.png",
        alpha=slide.config.alpha,
        colours=slide.config.colours,
        truth=slide.truth,
        mpp_known=stored.mpp_known,
    )
