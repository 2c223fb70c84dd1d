"""Run the command line as a user does, in this process or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from wsikit.cli.app import main


class Answer(NamedTuple):
    """What a command gave back."""

    code: int
    out: str
    err: str


Wsikit = Callable[..., Answer]


@pytest.fixture
def wsikit(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Wsikit:
    """Run `wsikit ARGS...` in this process."""

    def run(*args: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["wsikit", *map(str, args)])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        assert "Traceback" not in err, err
        return Answer(code, out, err)

    return run


def start(*args: object) -> subprocess.Popen[str]:
    """Start `wsikit ARGS...` as a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "wsikit.cli.app", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "COLUMNS": "120"},
    )


def run_process(*args: object) -> Answer:
    """Run `wsikit ARGS...` to its end as a process of its own."""
    process = start(*args)
    out, err = process.communicate(timeout=900)
    return Answer(process.returncode, out, err)


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its content."""
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }
