"""The page that opens in a browser: the slide to zoom into, with its scores over it."""

from __future__ import annotations

from pathlib import Path

from wsikit.heatmap.viewer.layers import Layer
from wsikit.heatmap.viewer.write import Subject, write_folder, write_single_file
from wsikit.stages.heatmaps.slide_heatmap import Pixels, SlideHeatmap
from wsikit.types import Size

SMALL_PX = 2000
"""A slide whose picture would be smaller than this along its longer side is shown finer."""


def write(slide: SlideHeatmap, folder: Path) -> None:
    """Write `<slide_id>/index.html`, and beside it the tiles and patches that it shows."""
    with slide.open_pixels() as pixels:
        write_folder(folder / slide.slide_id, _subject(slide, pixels))


def write_file(slide: SlideHeatmap, folder: Path) -> None:
    """Write `<slide_id>.viewer.html`, which holds all it shows; say so if that is coarser."""
    most_mb = slide.config.html_file_mb
    with slide.open_pixels() as pixels:
        subject = _subject(slide, pixels)
        path = folder / f"{slide.slide_id}.viewer.html"
        mpp = write_single_file(path, subject, int(most_mb * 1e6))
    if mpp > subject.wanted_mpp:
        coarser = f"is {mpp / subject.wanted_mpp:.3g} times coarser"
        if subject.mpp_known:
            coarser = f"holds {mpp:.3g} um per px in place of {subject.wanted_mpp:.3g}"
        slide.say(
            f"{slide.slide_id}: to fit into one HTML file of {most_mb:g} MB its picture {coarser}"
        )


def _picture_mpp(slide: SlideHeatmap) -> float:
    """Return the configured um per px, or a finer one where that leaves a small slide a blur."""
    size, mpp = slide.stored.grid.slide_px, slide.stored.mpp_l0
    longer_um = max(size.width * mpp.x, size.height * mpp.y)
    return min(slide.config.html_mpp, longer_um / SMALL_PX)


def _subject(slide: SlideHeatmap, pixels: Pixels) -> Subject:
    stored, config = slide.stored, slide.config
    runs = [(slide.run, slide.scores), *((other.name, other.scores) for other in slide.others)]
    window = Size(*stored.grid.side_l0())
    return Subject(
        slide_id=slide.slide_id,
        size_l0=stored.grid.slide_px,
        mpp_l0=stored.mpp_l0,
        layers=[Layer(name, scores, window) for name, scores in runs],
        read=pixels.read,
        finest=pixels.mpp,
        patch_mpp=stored.mpp,
        picture_mpp=_picture_mpp(slide) if stored.mpp_known else 0.0,  # 0: the finest
        most_patches=config.html_patches,
        colours=config.colours,
        alpha=config.alpha,
        truth=slide.truth,
        origin=pixels.origin,
        mpp_known=stored.mpp_known,
    )
