"""Standard streams that are closed or full cost no slide, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wsikit.phantoms.slide import write_phantom
from wsikit.phantoms.spec import PhantomSpec
from wsikit.store.store import Store
from wsikit.types import Mpp, Size

COMMAND = f"{sys.executable} -m wsikit.cli.app"
FULL = Path("/dev/full")


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the shell, with `wsikit` for this one."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.replace("wsikit", COMMAND)], cwd=folder,
        capture_output=True, text=True, timeout=300, env={**os.environ, "COLUMNS": "120"},
    )  # fmt: skip


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", "<&- >&- 2>&-"])
def test_a_log_that_cannot_be_written_stops_no_slide(tmp_path: Path, streams: str) -> None:
    if "full" in streams and not FULL.exists():
        pytest.skip("no device that is always full")
    for name in ("a", "b"):
        spec = PhantomSpec(name, Size(900, 700), Mpp(0.5, 0.5), 1, False, "dune")
        write_phantom(spec, tmp_path / f"{name}.tiff")
    (tmp_path / "c.tiff").write_bytes(b"no slide")
    done = shell(f"wsikit tile a.tiff b.tiff c.tiff -o store {streams}", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    store = Store(tmp_path / "store")
    assert store.slide_ids() == ["a", "b"]
    assert store.status("c")["tile"].state == "failed"


@pytest.mark.parametrize("command", ["wsikit --version", "wsikit encoders"])
@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
def test_results_that_cannot_be_written_are_one_line(tmp_path: Path, command: str) -> None:
    done = shell(f"{command} > /dev/full", tmp_path)
    assert done.returncode == 1
    assert done.stderr == "error: the output: No space left on device\n"


def test_a_reader_that_has_read_enough_is_no_error(tmp_path: Path) -> None:
    done = shell("wsikit encoders | head -n 1", tmp_path)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
