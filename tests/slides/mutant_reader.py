"""Read slides whose paths come on stdin, one a line, and say on stdout what became of each.

A process of its own, so that a crash, a hang or a gigabyte is seen from outside and survived.
Whatever a library writes to stderr, warnings among it, is caught and told as noise.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ADDRESS_SPACE = 6 << 30
"""Bytes beyond which an allocation fails, so that a bomb harms this process alone."""

READ_PX = 300
OVERVIEW_MPP = 8.0


def main() -> None:
    """Serve until stdin ends."""
    noise = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
    os.dup2(noise.fileno(), 2)
    import wsikit.slides.open  # before memory is measured

    read_all(None)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(json.dumps({"ready": wsikit.slides.open.__name__}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(Path(json.loads(line)), noise.fileno())), flush=True)


def answer(path: Path, noise: int) -> dict[str, object]:
    """Read one slide in every way and tell the outcome, the errors, the cost and the noise."""
    os.ftruncate(noise, 0)
    os.lseek(noise, 0, os.SEEK_SET)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is held now
    before, start = memory(), time.perf_counter()
    outcome, errors = read_all(path)
    seconds, after = time.perf_counter() - start, memory()
    return {
        "outcome": outcome,
        "errors": errors,
        "seconds": round(seconds, 3),
        "resident": after["VmHWM"] - before["VmRSS"],
        "virtual": after["VmPeak"] - max(before["VmPeak"], before["VmSize"]),
        "noise": os.pread(noise, 2000, 0).decode(errors="replace"),
    }


def read_all(path: Path | None) -> tuple[str, list[str]]:
    """Open and read a slide; return the outcome, and every error as `class: line`."""
    from wsikit.errors import MppError, WsikitError
    from wsikit.slides.open import open_slide
    from wsikit.types import Mpp

    if path is None:  # only the imports
        return "", []
    errors: list[str] = []
    try:
        slide = open_slide(path)
        try:
            _ = slide.mpp
        except MppError as error:
            errors.append(f"{type(error).__name__}: {error}")
            slide.close()
            slide = open_slide(path, Mpp(0.5, 0.5))
    except WsikitError as error:
        return "refused", [*errors, _told(error)]
    except Exception as error:
        return "foreign", [_told(error)]
    outcome = "read"
    with slide:
        for read in reads(slide):
            try:
                read()
            except WsikitError as error:
                outcome = "damaged"
                errors.append(_told(error))
            except Exception as error:
                return "foreign", [_told(error)]
    return outcome, errors


def reads(slide: object) -> Iterator[object]:
    """Yield reads of corners, middle, every level, between levels, and the overview."""
    from wsikit.slides.overview import read_overview
    from wsikit.types import Box, Mpp

    width, height = slide.size_l0
    own = slide.mpp
    for x, y in ((0, 0), (width // 2, height // 2), (width - 40, height - 50), (-20, -30)):
        yield lambda x=x, y=y: slide.read(Box(x, y, READ_PX, READ_PX))
    for level in slide.levels[1:]:
        mpp = Mpp(own.x * level.downsample[0], own.y * level.downsample[1])
        box = Box(0, 0, READ_PX * level.downsample[0], READ_PX * level.downsample[1])
        yield lambda mpp=mpp, box=box: slide.read(box, mpp)
    yield lambda: slide.read(Box(3.3, 5.7, READ_PX, READ_PX), Mpp(own.x * 1.7, own.y * 1.7))
    yield lambda: read_overview(slide, OVERVIEW_MPP)
    with slide.tolerating_damage():  # as tiling reads
        yield lambda: read_overview(slide, OVERVIEW_MPP)
    yield lambda: dict(slide.properties)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def memory() -> dict[str, int]:
    """Return this process's memory in bytes: now and at its peak, resident and virtual.

    The virtual peak cannot be started again, so only what goes beyond the highest yet is seen;
    the parent starts a new process after each excess.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    pairs = (line.split(":", 1) for line in lines if line.startswith("Vm"))
    return {name: int(value.split()[0]) << 10 for name, value in pairs}


if __name__ == "__main__":
    main()
