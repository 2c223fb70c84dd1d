"""Every benchmark runs alone in its small form and writes what machines read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda p: p.stem)
def test_it_runs_small(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    command = [sys.executable, str(path), "--small", "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert set(found) == {"machine", "rows", "bars"}
    assert all(set(row) == {"name", "value", "unit"} and row["value"] > 0 for row in found["rows"])
    for bar in found["bars"]:
        assert ("at_most" in bar) != ("at_least" in bar)
        assert isinstance(bar["ok"], bool)
