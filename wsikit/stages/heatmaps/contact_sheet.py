"""The patches that scored highest and lowest, as PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wsikit.heatmap.contact_sheet import PictureFacts, draw_contact_sheet, extremes
from wsikit.stages.heatmaps.pictures import picture_boxes, picture_names
from wsikit.stages.heatmaps.pixels import NoPixelsError
from wsikit.stages.heatmaps.slide_heatmap import SlideHeatmap
from wsikit.stages.heatmaps.title import title_of
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import Box, Mpp, Size


def write(slide: SlideHeatmap, folder: Path) -> None:
    """Write `<slide_id>.patches.png`, at the resolution the model saw.

    Raises:
        NoPixelsError: the slide has none; an older sheet, of other scores, is removed.
        WsikitError: the file cannot be written, or the slide's pixels cannot be read.
    """
    path = folder / f"{slide.slide_id}.patches.png"
    try:
        _draw(slide, path)
    except NoPixelsError:
        path.unlink(missing_ok=True)
        raise


def _draw(slide: SlideHeatmap, path: Path) -> None:
    scores, seen = slide.scores, slide.stored.mpp
    # What a finer stride scores is a cell; the model saw the whole patch around it.
    side, cell = Size(*slide.stored.grid.side_l0()), scores.side_l0
    shown = extremes(scores, slide.config.top, side)
    margin = ((side.width - cell.width) / 2, (side.height - cell.height) / 2)
    with slide.open_pixels() as pixels:
        at = Mpp(max(seen.x, pixels.mpp.x), max(seen.y, pixels.mpp.y))
        chosen = scores.xy_l0[np.concatenate([shown.highest, shown.lowest])].tolist()
        boxes = [Box(x - margin[0], y - margin[1], *side) for x, y in chosen]
        pictures = [pixels.read(box, at) for box in boxes]
        scale, own = pixels.l0_per_px(at), slide.stored.mpp_l0
        origin = pixels.origin
    draw_contact_sheet(
        scores,
        shown,
        pictures,
        Mpp(scale[0] * own.x, scale[1] * own.y),
        title_of(slide),
        path,
        colours=slide.config.colours,
        origin=origin,
        mpp_known=slide.stored.mpp_known,
        facts=_facts(slide.stored) if slide.stored.is_collection else None,
    )


def _facts(stored: StoredSlide) -> list[PictureFacts]:
    return [
        PictureFacts(name, boxes)
        for name, boxes in zip(picture_names(stored), picture_boxes(stored), strict=True)
    ]
