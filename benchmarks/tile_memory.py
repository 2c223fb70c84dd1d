"""Whether memory and time a megapixel of tissue stay flat as slides grow.

    python benchmarks/tile_memory.py [--small] [--json FILE]

Two phantoms of one height, 20,000 and 100,000 px wide, are tiled by `wsikit tile` with one worker,
each in a process of its own, whose peak resident memory the system reports. Only ratios of one run
mean anything, and the limit of 1.5 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

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
from wsikit.stages.tile import run_tile
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
            {"name": f"peak, {width} px", "value": round(one["peak_gb"], 3), "unit": "GB"},
            {
                "name": f"time, {width} px",
                "value": round(1000 * one["seconds"] / megapixels, 2),
                "unit": "ms a megapixel of tissue",
            },
        ]
    peaks, times = [row["value"] for row in rows[::2]], [row["value"] for row in rows[1::2]]
    bars = [
        bar("largest peak over 1.5 GB", max(peaks) / LIMIT_GB, 1.0),
        bar("peak, wide over narrow", peaks[1] / peaks[0], 1.25),
        bar("time, wide over narrow", times[1] / times[0], 1.25),
    ]
    machine = {"cpu": platform.machine(), "cores": len(os.sched_getaffinity(0))}
    return {"machine": machine, "rows": rows, "bars": bars}


def phantom(folder: Path, name: str, size: Size) -> Path:
    """Write a phantom slide."""
    path = folder / f"{name}.tiff"
    write_phantom(PhantomSpec(name, size, Mpp(0.5, 0.5), 1, True, "aurora"), path)
    return path


def bar(name: str, value: float, limit: float) -> dict[str, Any]:
    """Return a bar that a ratio must stay under."""
    return {"name": name, "value": round(value, 3), "at_most": limit, "ok": value <= limit}


def main() -> None:
    """Print the table; with --json also write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="quick; bars are not judged")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.small, Path(folder))
    for row in found["rows"]:
        print(f"{row['name']:<26} {row['value']:>8} {row['unit']}")
    for one in found["bars"]:
        verdict = "" if options.small else ("ok" if one["ok"] else "MISSED")
        print(f"{one['name']:<26} {one['value']:>8.2f} <= {one['at_most']} {verdict}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
