"""A loop over tiffslide, encoding with libjpeg-turbo."""

from __future__ import annotations

from loop import Encoded, jpeg, serve_loop
from protocol import PATCH_PX
from tiffslide import TiffSlide


def open_slide(path: str) -> Encoded:
    """Open a slide."""
    slide = TiffSlide(path)
    size = (PATCH_PX, PATCH_PX)
    return lambda x, y: jpeg(slide.read_region((x, y), 0, size, as_array=True))


if __name__ == "__main__":
    serve_loop(open_slide, "tiffslide")
