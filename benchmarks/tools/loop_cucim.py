"""A loop over cuCIM on the CPU, encoding with libjpeg-turbo."""

from __future__ import annotations

import numpy as np
from cucim import CuImage
from loop import Encoded, jpeg, serve_loop
from protocol import PATCH_PX


def open_slide(path: str) -> Encoded:
    """Open a slide."""
    slide = CuImage(path)
    size = (PATCH_PX, PATCH_PX)
    return lambda x, y: jpeg(np.asarray(slide.read_region((x, y), size, 0)))


if __name__ == "__main__":
    serve_loop(open_slide, "cucim-cu12")
