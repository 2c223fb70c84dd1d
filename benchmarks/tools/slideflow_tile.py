"""slideflow: its Otsu filter, patches saved as JPEG files (quality 95, its own and only choice).

Variants: `cucim` reads with threads, `libvips` with processes, which is what each is best at. Its
filters that look at every patch again are off, so that it filters once, as the others do.
"""

from __future__ import annotations

import os
import sys

# The back-end is chosen when slideflow is imported.
os.environ["SF_BACKEND"] = "torch"
os.environ["SF_SLIDE_BACKEND"] = "libvips" if "libvips" in sys.argv else "cucim"

if os.environ["SF_SLIDE_BACKEND"] == "cucim":
    # cuCIM and its plug-ins never return from being loaded once PyTorch is: open a slide first.
    from cucim import CuImage

    CuImage(sys.argv[1]).close()

import slideflow as sf
from protocol import LEAST_TISSUE, PATCH_PX, Job, serve


def tile(job: Job) -> int:
    """Tile the slide; the tool looks for tissue itself."""
    slide = sf.WSI(str(job.slide), tile_px=PATCH_PX, tile_um="20x", verbose=False)
    slide.qc("otsu", filter_threshold=1 - LEAST_TISSUE)
    workers = "num_processes" if job.variant == "libvips" else "num_threads"
    slide.extract_tiles(
        tiles_dir=str(job.out),
        img_format="jpg",
        report=False,
        whitespace_fraction=1.0,
        grayspace_fraction=1.0,
        **{workers: job.workers},
    )
    return sum(1 for _ in job.out.rglob("*.jpg"))


if __name__ == "__main__":
    serve(tile, "slideflow")
