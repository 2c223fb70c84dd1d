"""lazyslide: tissue and tile coordinates into its Zarr store, then every tile read and encoded.

It writes no pixels itself; a user reads the tiles back one by one, which is what is timed here,
with its default reader. It reads in one thread and has no workers for that.
"""

from __future__ import annotations

import lazyslide as zs
from PIL import Image
from protocol import JPEG_QUALITY, LEAST_TISSUE, PATCH_PX, Job, serve
from wsidata import open_wsi


def tile(job: Job) -> int:
    """Tile the slide; the tool looks for tissue itself."""
    slide = open_wsi(str(job.slide), store=str(job.out / "slide.zarr"))
    zs.pp.find_tissues(slide)
    zs.pp.tile_tissues(slide, PATCH_PX, background_fraction=1 - LEAST_TISSUE)
    slide.write()
    kept = 0
    for found in slide.iter.tile_images("tiles"):
        path = job.out / f"{kept:06d}.jpg"
        Image.fromarray(found.image).save(path, quality=JPEG_QUALITY, subsampling="4:2:0")
        kept += 1
    return kept


if __name__ == "__main__":
    serve(tile, "lazyslide")
