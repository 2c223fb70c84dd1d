"""What every script here does: take a job from the command line, time the tool, print what it did.

    python NAME.py SLIDE OUT COORDINATES [--workers N] [--variant NAME] [--warm SLIDE COORDINATES]

Each script runs in the environment of its own tool, so nothing here needs more than numpy. The last
line printed is one JSON object: kept patches, seconds after start-up, the tool's version. With
`--warm` the tool first does the whole of a small slide, untimed; its imports are done by then too.
Without it, who started the process times it as a whole.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PATCH_PX = 512
JPEG_QUALITY = 90
LEAST_TISSUE = 0.1
"""Share of tissue a patch needs, where the tool can be asked for one: wsikit's default."""


@dataclass(frozen=True)
class Job:
    """One slide to cut into patches of `PATCH_PX` at level 0.

    Attributes:
        slide: the file.
        out: an empty folder for what the tool writes.
        coordinates: a .npy file of (N, 2) x and y in level-0 px of the patches to keep; for bare
            loops only, a tool that finds tissue itself is not told.
        workers: how many to use, where the tool has workers.
        variant: which of the tool's ways of working.
    """

    slide: Path
    out: Path
    coordinates: Path
    workers: int
    variant: str


def serve(tile: Callable[[Job], int | Callable[[], int]], distribution: str) -> None:
    """Run a tool as the command line says.

    Args:
        tile: does a job and returns how many patches it kept, or what counts them, untimed.
        distribution: the tool's name in the package registry.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("slide", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("coordinates", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--variant", default="")
    parser.add_argument("--warm", type=Path, nargs=2, metavar=("SLIDE", "COORDINATES"))
    given = parser.parse_args()
    if given.warm:
        slide, coordinates = given.warm
        tile(Job(slide, _empty(given.out), coordinates, given.workers, given.variant))
    job = Job(given.slide, _empty(given.out), given.coordinates, given.workers, given.variant)
    start = time.perf_counter()
    kept = tile(job)
    seconds = time.perf_counter() - start
    kept = kept() if callable(kept) else kept
    found = {"kept": int(kept), "seconds": seconds, "version": _version(distribution)}
    print("\n" + json.dumps(found), flush=True)


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
