"""TRIDENT: tissue by Otsu, coordinates into HDF5, then every patch read and encoded.

It writes coordinates only; a user reads the patches back one by one, which is what is timed here.
Written from its documentation and its `run_single_slide.py`; it could not be run where this was
made, since it is in no package registry.
"""

from __future__ import annotations

import h5py
from PIL import Image
from protocol import JPEG_QUALITY, LEAST_TISSUE, PATCH_PX, Job, serve
from trident import load_wsi
from trident.segmentation_models import segmentation_model_factory

MAGNIFICATION = 20


def tile(job: Job) -> int:
    """Tile the slide; the tool looks for tissue itself."""
    slide = load_wsi(slide_path=str(job.slide), lazy_init=False)
    model = segmentation_model_factory("otsu")
    slide.segment_tissue(
        segmentation_model=model,
        target_mag=model.target_mag,
        job_dir=str(job.out),
        device="cpu",
    )
    coordinates = slide.extract_tissue_coords(
        target_mag=MAGNIFICATION,
        patch_size=PATCH_PX,
        save_coords=str(job.out),
        min_tissue_proportion=LEAST_TISSUE,
    )
    with h5py.File(coordinates) as file:
        corners = file["coords"][:]
    patches = slide.create_patcher(
        patch_size=PATCH_PX,
        src_mag=MAGNIFICATION,
        dst_mag=MAGNIFICATION,
        custom_coords=corners,
        coords_only=False,
    )
    for index, (pixels, _, _) in enumerate(patches):
        path = job.out / f"{index:06d}.jpg"
        Image.fromarray(pixels).save(path, quality=JPEG_QUALITY, subsampling="4:2:0")
    return len(corners)


if __name__ == "__main__":
    serve(tile, "trident")
