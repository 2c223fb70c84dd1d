"""A store of several mosaics of real tissue, for benchmarks that read patches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mosaic import find_real_slide, source_picture, write_mosaic

from wsikit.config import load_config
from wsikit.stages.cohort import source_slides
from wsikit.stages.tiling.tile import run_tile
from wsikit.store.store import Store
from wsikit.types import Size

CPU_SIZE = Size(6500, 6000)
"""About 90 kept patches a slide: on a processor, a round must not take all day."""


def mosaic_store(folder: Path, slides: int, size: Size, tissue: Path | None) -> Store:
    """Tile mosaics; every second one is turned upside down.

    Args:
        folder: receives `slides/` and `store/`.
        slides: how many.
        size: of each, level-0 px.
        tissue: a real slide to make them of; None makes them of a phantom.
    """
    picture = source_picture(tissue)
    (folder / "slides").mkdir()
    for number in range(slides):
        turned = np.ascontiguousarray(np.flipud(picture)) if number % 2 else picture
        write_mosaic(turned, size, folder / "slides" / f"s{number}.svs")
    run_tile(source_slides([folder / "slides"]), folder / "store", load_config().tile)
    return Store(folder / "store")


def found_tissue(small: bool, named: Path | None) -> Path | None:
    """Return the real slide to use: the one named, else the test data's; None in the small form."""
    return None if small else find_real_slide(named)
