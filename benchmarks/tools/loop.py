"""A bare loop: read the patches one is told to, encode each, append it to one file.

No tissue is looked for, nothing is normalised, no index is kept: what a tool that also does these
is compared with.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from functools import cache
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from protocol import JPEG_QUALITY, PATCH_PX, Job, serve

Encoded = Callable[[int, int], bytes]
"""Read the patch whose corner is (x, y) and return it as a JPEG."""

CHUNKS_PER_WORKER = 8


def serve_loop(open_slide: Callable[[str], Encoded], distribution: str) -> None:
    """Run a loop over the patches of a job, in this process or in several.

    Args:
        open_slide: opens a slide and returns what reads and encodes one patch; a function of the
            script's top level, since workers import it.
        distribution: the reader's name in the package registry.
    """
    serve(lambda job: _loop(open_slide, job), distribution)


def _loop(open_slide: Callable[[str], Encoded], job: Job) -> int:
    corners = np.load(job.coordinates)
    if job.workers == 1:
        return _write(open_slide, job.slide, corners, job.out / "patches.jpegs")
    pieces = np.array_split(corners, job.workers * CHUNKS_PER_WORKER)
    tasks = [
        (open_slide, job.slide, piece, job.out / f"patches-{index}.jpegs")
        for index, piece in enumerate(pieces)
    ]
    return sum(_pool(job.workers).starmap(_write, tasks, chunksize=1))


@cache
def _pool(workers: int) -> Pool:
    """Open the workers once: after the warm-up they have been there already."""
    return multiprocessing.get_context("spawn").Pool(workers)


def _write(
    open_slide: Callable[[str], Encoded], slide: Path, corners: np.ndarray, path: Path
) -> int:
    patch = open_slide(str(slide))
    with path.open("wb") as file:
        for x, y in corners.tolist():
            file.write(patch(x, y))
    return len(corners)


def jpeg(pixels: Any) -> bytes:
    """Encode (512, 512, 3) uint8 pixels with libjpeg-turbo, as wsikit does."""
    array = np.ascontiguousarray(pixels)
    if array.shape != (PATCH_PX, PATCH_PX, 3):
        raise ValueError(f"a patch of shape {array.shape}")
    return bytes(imagecodecs.jpeg8_encode(array, level=JPEG_QUALITY, subsampling="420"))
