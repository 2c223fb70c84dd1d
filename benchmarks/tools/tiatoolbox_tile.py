"""TIAToolbox: a sliding window over the slide with its own Otsu mask, patches saved as JPEG files.

The extractor reads in one thread and has no workers.
"""

from __future__ import annotations

from PIL import Image
from protocol import JPEG_QUALITY, LEAST_TISSUE, PATCH_PX, Job, serve
from tiatoolbox.tools.patchextraction import SlidingWindowPatchExtractor
from tiatoolbox.wsicore.wsireader import WSIReader


def tile(job: Job) -> int:
    """Tile the slide; the tool looks for tissue itself."""
    patches = SlidingWindowPatchExtractor(
        input_img=WSIReader.open(job.slide),
        patch_size=(PATCH_PX, PATCH_PX),
        input_mask="otsu",
        resolution=0,
        units="level",
        min_mask_ratio=LEAST_TISSUE,
        within_bound=True,
    )
    for index, pixels in enumerate(patches):
        path = job.out / f"{index:06d}.jpg"
        Image.fromarray(pixels).save(path, quality=JPEG_QUALITY, subsampling="4:2:0")
    return len(patches)


if __name__ == "__main__":
    serve(tile, "tiatoolbox")
