"""A loop over fastslide, encoding with libjpeg-turbo."""

from __future__ import annotations

from fastslide import FastSlide
from loop import Encoded, jpeg, serve_loop
from protocol import PATCH_PX


def open_slide(path: str) -> Encoded:
    """Open a slide."""
    slide = FastSlide.from_file_path(path)
    size = (PATCH_PX, PATCH_PX)
    return lambda x, y: jpeg(slide.read_region((x, y), 0, size).numpy())


if __name__ == "__main__":
    serve_loop(open_slide, "fastslide")
