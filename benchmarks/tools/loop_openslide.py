"""OpenSlide and Pillow: the loop most people write first."""

from __future__ import annotations

import io

from loop import Encoded, serve_loop
from openslide import OpenSlide
from protocol import JPEG_QUALITY, PATCH_PX


def open_slide(path: str) -> Encoded:
    """Open a slide."""
    slide = OpenSlide(path)

    def patch(x: int, y: int) -> bytes:
        pixels = slide.read_region((x, y), 0, (PATCH_PX, PATCH_PX)).convert("RGB")
        buffer = io.BytesIO()
        pixels.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling="4:2:0")
        return buffer.getvalue()

    return patch


if __name__ == "__main__":
    serve_loop(open_slide, "openslide-python")
