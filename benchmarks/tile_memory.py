"""Whether memory and time a megapixel of tissue stay flat as slides grow.

    python benchmarks/tile_memory.py [--small] [--json FILE]

Two phantoms of one height, 20,000 and 100,000 px wide, are tiled by `wsikit tile` with one worker,
each in a process of its own, whose peak resident memory the system reports. Only ratios of one run
mean anything, and the limit of 1.5 GB.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from shared.report import at_most, line, options, report

from wsikit.phantoms.slide import write_phantom
from wsikit.phantoms.spec import PhantomSpec
from wsikit.types import Mpp, Size

HEIGHT = 5000
WIDTHS = (20_000, 100_000)
SMALL_WIDTHS = (2_000, 4_000)
LIMIT_GB = 1.5

# The child reports its own peak: ru_maxrss of a child would hold what its parent had before exec.
CHILD = """
import json, sys, time
from pathlib import Path
from wsikit.config import load_config
from wsikit.stages.cohort import source_slides
from wsikit.stages.tiling.tile import run_tile
from wsikit.store.store import Store
slide, warm, out = map(Path, sys.argv[1:])
run_tile(source_slides([warm]), out / "warm", load_config().tile)
start = time.perf_counter()
run_tile(source_slides([slide]), out / "store", load_config().tile)
seconds = time.perf_counter() - start
kept = len(Store(out / "store").slide(slide.stem).patches)
peak = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM"))
print(json.dumps({"seconds": seconds, "kept": kept, "peak_gb": int(peak.split()[1]) / 1e6}))
"""


def tile(slide: Path, warm: Path, out: Path) -> dict[str, float]:
    """Tile one slide in a process of its own, after a small one that pays for start-up."""
    command = [sys.executable, "-c", CHILD, str(slide), str(warm), str(out)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(small: bool, folder: Path) -> dict[str, Any]:
    """Run everything and return rows and bars."""
    widths = SMALL_WIDTHS if small else WIDTHS
    height = 1500 if small else HEIGHT
    warm = phantom(folder, "warm", Size(1500, 1500))
    found = {}
    for width in widths:
        slide = phantom(folder, f"w{width}", Size(width, height))
        found[width] = tile(slide, warm, folder / f"out{width}")
        slide.unlink()
    rows = []
    for width, one in found.items():
        megapixels = one["kept"] * 512 * 512 / 1e6
        rows += [
            line(f"peak, {width} px", one["peak_gb"], "GB", 3),
            line(
                f"time, {width} px", 1000 * one["seconds"] / megapixels, "ms a megapixel of tissue"
            ),
        ]
    peaks, times = [r["value"] for r in rows[::2]], [r["value"] for r in rows[1::2]]
    bars = [
        at_most("largest peak over 1.5 GB", max(peaks) / LIMIT_GB, 1.0),
        at_most("peak, wide over narrow", peaks[1] / peaks[0], 1.25),
        at_most("time, wide over narrow", times[1] / times[0], 1.25),
    ]
    return {"rows": rows, "bars": bars}


def phantom(folder: Path, name: str, size: Size) -> Path:
    """Write a phantom slide."""
    path = folder / f"{name}.tiff"
    write_phantom(PhantomSpec(name, size, Mpp(0.5, 0.5), 1, True, "aurora"), path)
    return path


def main() -> None:
    """Print the table; with --json also write it."""
    parser = options(__doc__)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(asked.small, Path(folder))
    report(found["rows"], found["bars"], asked)


if __name__ == "__main__":
    main()
