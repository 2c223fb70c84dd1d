"""hs2p: tissue from a thumbnail, patches into a tar of JPEGs, coordinates beside it.

Variants: `openslide` (its portable defaults, Pillow encodes), `cucim` (cuCIM reads, TurboJPEG
encodes) and `vips` (libvips reads, TurboJPEG encodes). No preview pictures, no pixel checks.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hs2p import (
    DEFAULT_MASK_SAMPLING,
    SegmentationConfig,
    SlideSpec,
    TilingConfig,
    load_tiling_result,
    tile_slides,
)
from protocol import LEAST_TISSUE, PATCH_PX, Job, serve

ENCODERS = {"openslide": "pil", "cucim": "turbojpeg", "vips": "turbojpeg"}


def tile(job: Job) -> int:
    """Tile the slide; the tool looks for tissue itself."""
    coverage = {**DEFAULT_MASK_SAMPLING.min_coverage, "tissue": LEAST_TISSUE}
    (made,) = tile_slides(
        [SlideSpec(sample_id=job.slide.stem, image_path=job.slide)],
        tiling=TilingConfig(
            requested_spacing_um=0.5,
            requested_tile_size_px=PATCH_PX,
            tolerance=0.05,
            overlap=0.0,
            backend=job.variant,
        ),
        segmentation=SegmentationConfig(method="hsv"),
        output_dir=job.out,
        num_workers=job.workers,
        save_tiles=True,
        jpeg_backend=ENCODERS[job.variant],
        masks=replace(DEFAULT_MASK_SAMPLING, min_coverage=coverage),
    )
    result = load_tiling_result(made.coordinates_npz_path, made.coordinates_meta_path)
    return int(np.size(result.x))


if __name__ == "__main__":
    serve(tile, "hs2p")
