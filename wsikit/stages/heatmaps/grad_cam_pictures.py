"""The format that shows where a network looked: one PNG a picture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from wsikit.heatmap.grad_cam_sheet import GradCamPicture, draw_grad_cam
from wsikit.stages.heatmaps.slide_heatmap import SlideHeatmap

FOLDER = "grad-cam"
"""Holds the pictures of all slides, so that one can leaf through them."""


def write(slide: SlideHeatmap, folder: Path) -> None:
    """Write `grad-cam/<slide_id>-<number>.png`; the number is the picture's in the index.

    Raises:
        WsikitError: a file cannot be written, or a picture cannot be read.
    """
    own = folder / FOLDER
    count = write_pictures(slide.grad_cams(), slide.slide_id, own)
    while (left := own / f"{slide.slide_id}-{count}.png").exists():  # there were more pictures once
        left.unlink()
        count += 1


def write_pictures(pictures: Iterable[GradCamPicture], slide_id: str, folder: Path) -> int:
    """Write a slide's pictures, each of them whole or not at all.

    Args:
        pictures: what is drawn.
        slide_id: the slide.
        folder: receives `<slide_id>-<number>.png`, numbers from 0.

    Returns:
        How many there are.
    """
    count = 0
    for count, picture in enumerate(pictures, start=1):
        draw_grad_cam(picture, folder / f"{slide_id}-{count - 1}.png")
    return count
