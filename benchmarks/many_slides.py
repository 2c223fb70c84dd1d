"""What 10,000 tiny slides cost: milliseconds a slide beside its pixels, and the scheduler's memory.

    python benchmarks/many_slides.py [--small] [--json FILE] [--slides N]

One tiny phantom is hard-linked under 10,000 names (40 with --small), and all are tiled by two
workers into one store. The Dask scheduler is in this process, so its memory is this process's; it
is read at 10, 50 and 100 % of the slides. The same slide tiled in this process alone, and empty
tasks sent through the same workers, say how much of the time is the pool's.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from shared.report import at_most, line, options, report

from wsikit.config import TileConfig
from wsikit.execution.pool import Pool, Task, open_pool
from wsikit.phantoms.slide import write_phantom
from wsikit.phantoms.spec import PhantomSpec
from wsikit.stages.cohort import SourceSlide
from wsikit.stages.tiling.tile import run_tile
from wsikit.types import Mpp, Size

CONFIG = TileConfig(size=256)
WORKERS = 2
WARM = 8
EMPTY_TASKS = 400


class Meter:
    """A stage's progress that notes when each slide ended, and the memory at some of them.

    Args:
        marks: after how many slides to read this process's memory.
    """

    def __init__(self, marks: tuple[int, ...] = ()) -> None:
        self._marks = marks
        self.times: list[float] = []
        self.megabytes: dict[int, float] = {}

    def start(self, stage: str, total: int) -> None:
        """Note the start."""
        self.times = [time.perf_counter()]

    def advance(self, label: str, units: int = 1) -> None:
        """Note a slide."""
        self.times.append(time.perf_counter())
        done = len(self.times) - 1
        if done in self._marks:
            self.megabytes[done] = psutil.Process().memory_info().rss / 1e6

    def say(self, line: str) -> None:
        """Ignore."""

    def finish(self) -> None:
        """Ignore."""

    def milliseconds(self, first: int, last: int) -> float:
        """Return the mean wall time a slide from one count of slides to another."""
        return (self.times[last] - self.times[first]) / (last - first) * 1000


def make_slides(folder: Path, count: int) -> list[SourceSlide]:
    """Draw one slide and link it under many names."""
    first = folder / "original.tiff"
    write_phantom(PhantomSpec("original", Size(700, 560), Mpp(0.5, 0.5), 1, False, "dune"), first)
    slides = []
    for number in range(count):
        path = folder / f"slide{number:05d}.tiff"
        os.link(first, path)
        slides.append(SourceSlide(path.stem, path))
    return slides


def nothing(value: int) -> int:
    """Do nothing, elsewhere."""
    return value


def empty_task_ms(pool: Pool) -> float:
    """Return the wall time of a task that does nothing, as many in flight as a stage keeps."""
    begun = time.perf_counter()
    sent = done = 0
    while done < EMPTY_TASKS:
        while sent < EMPTY_TASKS and sent - done < pool.slots:
            pool.submit(Task(sent, nothing, (sent,)))
            sent += 1
        pool.next_done().result()
        done += 1
    return (time.perf_counter() - begun) / EMPTY_TASKS * 1000


def measure(count: int, folder: Path) -> dict[str, Any]:
    """Run everything once and return rows and bars."""
    slides = make_slides(folder, count)
    tenth = count // 10
    alone = Meter()
    some = slides[: min(count, 100)]
    run_tile(some[:WARM], folder / "warm-alone", CONFIG)
    run_tile(some, folder / "alone", CONFIG, progress=alone)
    meter = Meter((tenth, count // 2, count))
    with open_pool(WORKERS) as pool:
        run_tile(slides[:WARM], folder / "warm", CONFIG, pool=pool)
        task_ms = empty_task_ms(pool)
        outcome = run_tile(slides, folder / "many", CONFIG, pool=pool, progress=meter)
    if len(outcome.done) != count:
        raise SystemExit(f"only {len(outcome.done)} of {count} slides were tiled")
    again = Meter()
    run_tile(slides, folder / "many", CONFIG, progress=again)
    first, last = meter.milliseconds(0, tenth), meter.milliseconds(count - tenth, count)
    rows = [
        ("slides", count, "slides"),
        ("one slide, this process alone", alone.milliseconds(0, len(some)), "ms"),
        ("one slide, two workers", meter.milliseconds(0, count), "ms"),
        ("first tenth, one slide", first, "ms"),
        ("last tenth, one slide", last, "ms"),
        ("one empty task, two workers", task_ms, "ms"),
        ("skipping one finished slide", again.milliseconds(0, count), "ms"),
        *((f"memory at {n} slides", found, "MB") for n, found in meter.megabytes.items()),
    ]
    grown = meter.megabytes[count] / meter.megabytes[tenth]
    bars = [
        at_most("memory, end over 10 %", grown, 1.2),
        at_most("a slide, last tenth over first", last / first, 1.5),
    ]
    table = [line(n, v, unit) for n, v, unit in rows]
    return {"rows": table, "bars": bars}


def main() -> None:
    """Print the table; with --json also write it."""
    parser = options(__doc__)
    parser.add_argument("--slides", type=int, default=10_000, metavar="N", help="how many slides")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(40 if asked.small else asked.slides, Path(folder))
    report(found["rows"], found["bars"], asked)


if __name__ == "__main__":
    main()
