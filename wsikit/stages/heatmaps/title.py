"""The first line of a slide's pictures."""

from __future__ import annotations

from wsikit.stages.heatmaps.slide_heatmap import SlideHeatmap


def title_of(slide: SlideHeatmap) -> str:
    """Name the slide and, where the run predicted it, say what and how surely.

    Args:
        slide: whose pictures.

    Returns:
        `S1` or `S1: predicted tumour (0.93)`.
    """
    predicted = slide.prediction.get("pred", "")
    if not predicted:
        return slide.slide_id
    try:
        surely = f" ({float(slide.prediction[f'prob_{predicted}']):.2f})"
    except (KeyError, ValueError):  # a table of other columns
        surely = ""
    return f"{slide.slide_id}: predicted {predicted}{surely}"
