"""Compiled functions do what Python does, wherever their machine code can be kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from wsikit.compiled import compiled


def weigh(values: np.ndarray) -> float:
    total = 0.0
    for i in range(len(values)):
        total += values[i] * i
    return total


def test_it_computes_what_python_computes() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    assert compiled(weigh)(values) == weigh(values)


def test_it_works_where_nothing_can_be_written(tmp_path: Path) -> None:
    """As in a container: the source's folder and the home are read-only."""
    source = tmp_path / "src"
    source.mkdir()
    (source / "twice.py").write_text(
        "from wsikit.compiled import compiled\n\n"
        "@compiled\ndef twice(x: int) -> int:\n    return 2 * x\n\nprint(twice(21))\n"
    )
    script = (
        "import numba.core.caching as c, runpy\n"
        "c.CacheImpl._locator_classes = []\n"  # no place is found
        f"runpy.run_path({str(source / 'twice.py')!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "42"
