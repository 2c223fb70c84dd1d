"""`wsikit tile` beside what a user would run instead, on one slide, in one run.

    python benchmarks/tile_tools.py --install --envs DIR     # once: an environment for each tool
    python benchmarks/tile_tools.py --envs DIR [--json FILE] [--only NAME ...] [--slide SVS]
    python benchmarks/tile_tools.py --small [--json FILE]    # only what this Python can import

The slide is a mosaic of real tissue (see mosaic.py), 20,000 x 16,000 px. wsikit finds the tissue,
normalises the stain and keeps an index. Bare loops are given wsikit's own list of patches and only
read and encode them. Whole tools find tissue their own way, so each is judged by the patches it
kept itself, and by what it writes anyway. Each is timed after start-up (imports, workers and the
whole of a small slide come first) and as a whole process, on one core and with two workers on two;
patches are 512 px, JPEG quality 90. Times are the best of several; only their ratios mean anything.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mosaic import FULL, SMALL, find_real_slide, source_picture, write_mosaic
from tile import best, floor, some_patches
from tools.calls import on_cores
from tools.catalogue import TOOLS, Tool
from tools.environments import install
from tools.timing import ONE, ONE_WHOLE, TWO, TWO_WHOLE, Plan, Result, Slide, measure

from wsikit.config import load_config
from wsikit.stages.cohort import source_slides
from wsikit.stages.tiling.tile import run_tile
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide


def prepare(path: Path, folder: Path) -> tuple[Slide, StoredSlide]:
    """Tile a slide with wsikit, so that loops can be told which patches it kept."""
    folder.mkdir()
    run_tile(source_slides([path]), folder / "kept", load_config().tile)
    stored = Store(folder / "kept").slide(path.stem)
    corners = folder / f"{path.stem}.npy"
    np.save(corners, np.asarray(stored.patches.xy_l0))
    return Slide(path, corners), stored


def run_all(tools: Sequence[Tool], options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Write the slides, time everything, return what machines read."""
    small = options.small
    picture = source_picture(None if small else find_real_slide(options.slide))
    path, warm_path = folder / "mosaic.svs", folder / "small.svs"
    write_mosaic(picture, SMALL if small else FULL, path)
    if not small:
        write_mosaic(picture, SMALL, warm_path)
    slide, stored = prepare(path, folder / "slide")
    warm = slide if small else prepare(warm_path, folder / "warm")[0]
    repeats = 1 if small else options.repeats
    headings = (ONE, TWO) if small else (ONE, ONE_WHOLE, TWO, TWO_WHOLE)
    plan = Plan(slide, warm, folder / "out", repeats, headings, options.envs)
    patches = some_patches(stored)
    with on_cores(1):
        least = len(stored.patches) / best(repeats, lambda: floor(path, stored, patches))
    print(f"{'floor':<26} {ONE} {least:.0f} patches/s")
    results = []
    for tool in tools:
        results.append(measure(tool, plan))
        print(line(results[-1]), flush=True)
    return report(least, results)


def line(result: Result) -> str:
    """Return what is printed of a tool."""
    rates = " | ".join(f"{heading} {rate:.0f}" for heading, rate in result.rates.items())
    said = f"{rates} patches/s, kept {result.kept}" if rates else ""
    reason = f"LEFT OUT: {result.reason}" if result.reason else ""
    return f"{result.tool.name:<26} {said} {reason}".rstrip()


def report(least: float, results: Sequence[Result]) -> dict[str, Any]:
    """Return rows, bars and machine."""
    rows = [{"name": f"floor, {ONE}", "value": round(least, 1), "unit": "patches/s"}]
    for result in results:
        name = result.tool.name
        for heading, rate in result.rates.items():
            row = {"name": f"{name}, {heading}", "value": round(rate, 2), "unit": "patches/s"}
            rows.append(row)
        if result.kept:
            rows.append({"name": f"{name}, kept", "value": result.kept, "unit": "patches"})
    machine = {
        "cpu": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {r.tool.name: r.version for r in results if r.version},
        "left_out": {r.tool.name: r.reason for r in results if r.reason},
    }
    return {"machine": machine, "rows": rows, "bars": bars(results)}


def bars(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Compare wsikit with the best of the others; a bar with nothing to compare is left out."""
    ours = next((r.rates for r in results if r.tool.kind == "wsikit"), {})
    others = [result for result in results if result.tool.kind != "wsikit"]
    whole = [result for result in others if result.tool.kind == "whole"]
    fastslide = [result for result in others if result.tool.environment == "fastslide"]
    asked = [
        ("one core over best whole tool", ONE, whole, 1.0),
        ("one core over fastslide loop", ONE, fastslide, 1.0),
        ("two workers over best of all others on two", TWO, others, 1.5),
    ]
    found = []
    for name, heading, rivals, least in asked:
        rates = [result.rates[heading] for result in rivals if heading in result.rates]
        if rates and heading in ours:
            value = ours[heading] / max(rates)
            found.append({"name": name, "value": value, "at_least": least, "ok": value >= least})
    return found


def main() -> None:
    """Print a line a tool and the bars; with --json also write them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="quick; bars are not judged")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--envs", type=Path, metavar="DIR", help="the tools' environments")
    parser.add_argument("--install", action="store_true", help="make the environments, then stop")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="tools whose names hold this")
    parser.add_argument("--slide", type=Path, help="the real slide; default: that of the test data")
    parser.add_argument("--repeats", type=int, default=3, help="the best counts")
    options = parser.parse_args()
    wanted = [name.lower() for name in options.only or [""]] + ["wsikit"]
    tools = [tool for tool in TOOLS if any(name in tool.name.lower() for name in wanted)]
    if options.install:
        if options.envs is None:
            parser.error("--install needs --envs DIR")
        install(tools, options.envs)
        return
    with tempfile.TemporaryDirectory() as folder:
        found = run_all(tools, options, Path(folder))
    for bar in found["bars"]:
        verdict = "" if options.small else ("ok" if bar["ok"] else "MISSED")
        print(f"{bar['name']:<44} {bar['value']:>6.2f} >= {bar['at_least']} {verdict}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
