"""`vips dzsave`: every patch of the slide into a folder of JPEGs; it looks for no tissue."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from protocol import JPEG_QUALITY, PATCH_PX, Job, serve


def tile(job: Job) -> int:
    """Write level 0 as 512 px files."""
    vips = shutil.which("vips")
    if vips is None:
        sys.exit("the command 'vips' is not installed (Debian: libvips-tools)")
    command = [
        vips, "dzsave", str(job.slide), str(job.out / "slide"), "--depth", "one",
        "--tile-size", str(PATCH_PX), "--overlap", "0", "--suffix", f".jpg[Q={JPEG_QUALITY}]",
    ]  # fmt: skip
    environment = {**os.environ, "VIPS_CONCURRENCY": str(job.workers)}
    subprocess.run(command, check=True, env=environment)
    return sum(1 for _ in job.out.rglob("*.jpg"))


if __name__ == "__main__":
    serve(tile, "vips")
