"""Two OME-TIFFs: the scores as numbers, and the slide with the scores in colour."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from wsikit.heatmap.ome_tiff_overlay import write_overlay_tiff
from wsikit.heatmap.ome_tiff_scores import write_score_tiff
from wsikit.stages.heatmaps.pixels import NoPixelsError
from wsikit.stages.heatmaps.slide_heatmap import SlideHeatmap
from wsikit.types import Mpp


def write(slide: SlideHeatmap, folder: Path) -> None:
    """Write `<slide_id>.scores.ome.tiff`, then `<slide_id>.overlay.ome.tiff`.

    Raises:
        NoPixelsError: the slide has no pixels; the scores are written all the same, and an older
            overlay, which shows other scores, is removed.
        WsikitError: a file cannot be written, or the slide's pixels cannot be read.
    """
    grid = slide.stored.grid
    step = grid.patch_size if slide.config.stride is None else (slide.config.stride,) * 2
    write_score_tiff(
        folder / f"{slide.slide_id}.scores.ome.tiff",
        slide.scores,
        grid.slide_px,
        (step[0] * grid.scale[0], step[1] * grid.scale[1]),
        slide.stored.mpp_l0,
        slide.slide_id,
        slide.config.score_pixels,
        mpp_known=slide.stored.mpp_known,
    )
    path = folder / f"{slide.slide_id}.overlay.ome.tiff"
    try:
        _write_overlay(slide, path)
    except NoPixelsError as error:
        path.unlink(missing_ok=True)
        raise NoPixelsError(f"the overlay, not the scores: {error.what}", error.fix) from error


def _write_overlay(slide: SlideHeatmap, path: Path) -> None:
    with slide.open_pixels() as pixels:
        wanted = slide.config.overlay_mpp if slide.stored.mpp_known else 0.0  # 0: the finest
        at = Mpp(max(wanted, pixels.mpp.x), max(wanted, pixels.mpp.y))
        write_overlay_tiff(
            path,
            slide.scores,
            partial(pixels.read, mpp=at),
            slide.stored.grid.slide_px,
            pixels.l0_per_px(at),
            slide.stored.mpp_l0,
            slide.slide_id,
            alpha=slide.config.alpha,
            colours=slide.config.colours,
            origin=pixels.origin,
            mpp_known=slide.stored.mpp_known,
        )
