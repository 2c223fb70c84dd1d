"""Small slides of known pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile

from wsikit.types import Mpp


@pytest.fixture
def write_pyramid():
    """Write levels as a generic tiled pyramid whose tags state the mpp."""

    def write(path: Path, levels: Sequence[np.ndarray], mpp: Mpp | None = None, **options) -> Path:
        given = {"tile": (128, 96), "compression": "deflate", "photometric": "rgb"} | options
        with tifffile.TiffWriter(path) as tiff:
            for index, level in enumerate(levels):
                tags = {}
                if mpp is not None:
                    down = 2**index
                    tags["resolution"] = (1e4 / (mpp.x * down), 1e4 / (mpp.y * down))
                    tags["resolutionunit"] = "CENTIMETER"
                tiff.write(level, **given, **tags, subfiletype=1 if index else 0, metadata=None)
        return path

    return write
