"""Time one tool on one slide, after start-up and as a whole process, on one core and on two."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tools.calls import ToolError, call, on_cores
from tools.catalogue import Tool
from tools.environments import interpreter

from wsikit.store.store import Store

SCRIPTS = Path(__file__).parent
LONG_S = 20.0
"""A run that takes longer is not repeated."""

ONE, ONE_WHOLE = "one core", "one core, whole process"
TWO, TWO_WHOLE = "two workers", "two workers, whole process"


@dataclass(frozen=True)
class Slide:
    """A slide, and a .npy file of the corners of the patches a bare loop is to keep."""

    path: Path
    corners: Path


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        slide: the slide that is timed.
        warm: a small one, done first.
        out: a folder for what the tools write.
        repeats: how often; the best counts.
        headings: of `ONE`, `ONE_WHOLE`, `TWO` and `TWO_WHOLE` those wanted.
        envs: the tools' environments; None: this process's own.
    """

    slide: Slide
    warm: Slide
    out: Path
    repeats: int
    headings: tuple[str, ...]
    envs: Path | None


@dataclass
class Result:
    """What a tool did.

    Attributes:
        tool: which.
        rates: heading to kept patches a second.
        kept: how many patches it kept.
        version: its version.
        reason: why it was left out, or not measured to the end; empty: it was measured.
    """

    tool: Tool
    rates: dict[str, float] = field(default_factory=dict)
    kept: int = 0
    version: str = ""
    reason: str = ""


def measure(tool: Tool, plan: Plan) -> Result:
    """Time a tool in every way it is asked for and can be run."""
    result = Result(tool)
    try:
        python = interpreter(tool, plan.envs)
        for heading in plan.headings:
            if tool.workers or heading in (ONE, ONE_WHOLE):
                _time(result, heading, python, plan)
    except ToolError as error:
        result.reason = str(error)
    return result


def _time(result: Result, heading: str, python: Path, plan: Plan) -> None:
    least = float("inf")
    for _ in range(plan.repeats):
        kept, seconds, version = _run(result.tool, heading, python, plan)
        if not kept:
            raise ToolError("it kept no patch")
        least = min(least, seconds)
        result.kept, result.version = kept, version or result.version
        if seconds > LONG_S:
            break
    result.rates[heading] = result.kept / least


def _run(tool: Tool, heading: str, python: Path, plan: Plan) -> tuple[int, float, str]:
    """Return how many patches were kept, in how many seconds, by which version."""
    workers = 1 if heading in (ONE, ONE_WHOLE) else 2
    whole = heading in (ONE_WHOLE, TWO_WHOLE)
    if tool.kind == "wsikit" and whole:
        command = _command_line(plan, workers)
    else:
        command = [str(python), str(SCRIPTS / tool.script), str(plan.slide.path), str(plan.out)]
        command += [str(plan.slide.corners), "--workers", str(workers), "--variant", tool.variant]
    if not whole:
        command += ["--warm", str(plan.warm.path), str(plan.warm.corners)]
    shutil.rmtree(plan.out, ignore_errors=True)
    with on_cores(workers):
        start = time.perf_counter()
        printed = call(command, plan.out.parent)
        seconds = time.perf_counter() - start
    if tool.kind == "wsikit" and whole:
        return len(Store(plan.out).slide(plan.slide.path.stem).patches), seconds, ""
    found = json.loads(printed.strip().splitlines()[-1])
    return found["kept"], seconds if whole else found["seconds"], found["version"]


def _command_line(plan: Plan, workers: int) -> list[str]:
    """Return `wsikit tile` as a user types it."""
    wsikit = [sys.executable, "-m", "wsikit", "tile"]
    return [*wsikit, str(plan.slide.path), "-o", str(plan.out), "--workers", str(workers)]
