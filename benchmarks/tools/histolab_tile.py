"""histolab: a grid over its tissue mask, patches saved as PNG files.

It cannot write JPEG: its patches have an alpha channel. It reads in one thread, has no workers.
"""

from __future__ import annotations

from histolab.masks import TissueMask
from histolab.slide import Slide
from histolab.tiler import GridTiler
from protocol import LEAST_TISSUE, PATCH_PX, Job, serve


def tile(job: Job) -> int:
    """Tile the slide; the tool looks for tissue itself."""
    slide = Slide(str(job.slide), processed_path=str(job.out))
    tiler = GridTiler(
        tile_size=(PATCH_PX, PATCH_PX),
        level=0,
        check_tissue=True,
        tissue_percent=100 * LEAST_TISSUE,
    )
    tiler.extract(slide, extraction_mask=TissueMask())
    return sum(1 for _ in job.out.rglob("*.png"))


if __name__ == "__main__":
    serve(tile, "histolab")
