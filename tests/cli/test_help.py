"""Help comes at once and teaches; a wrong call is answered with one line and code 2."""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from tests.cli.conftest import Wsikit, run_process
from wsikit.cli.app import COMMANDS


@pytest.mark.timed
def test_help_answers_in_under_half_a_second() -> None:
    """Best of several, so that a busy machine does not decide."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "wsikit.cli.app", "--help"], capture_output=True, check=True
        )
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5


@pytest.mark.parametrize("command", [c.__name__ for c in COMMANDS])
def test_every_command_explains_itself(wsikit: Wsikit, command: str) -> None:
    answer = wsikit(command, "--help")
    assert answer.code == 0
    assert f"wsikit {command}" in answer.out
    assert "Usage" in answer.out


@pytest.mark.parametrize(
    "call",
    [
        ("tyle",),
        ("tile",),
        ("tile", "x.svs"),
        ("train", "store"),
        ("tile", "a", "-o", "b", "--fast"),
    ],
)
def test_a_wrong_call_is_code_2(call: tuple[str, ...]) -> None:
    answer = run_process(*call)
    assert answer.code == 2
    assert "Traceback" not in answer.err


def test_version(wsikit: Wsikit) -> None:
    from wsikit import __version__

    assert wsikit("--version").out == f"wsikit {__version__}\n"


def free_space(gigabytes: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every disk have that much room: what this machine's has is not what is tested."""
    room = int(gigabytes * 1e9)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=room))


def test_doctor_finds_this_environment_healthy(
    wsikit: Wsikit, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    free_space(100, monkeypatch)
    answer = wsikit("doctor", "--json")
    assert answer.code == 0, answer.out
    document = json.loads(answer.out)
    assert document["ok"] is True
    assert {f["name"] for f in document["findings"]} >= {"FAISS", "JPEG codec", "OpenSlide library"}
    assert wsikit("doctor").out.count("\n") == len(document["findings"])


def test_doctor_says_that_the_disk_is_almost_full(
    wsikit: Wsikit, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_space(4, monkeypatch)
    answer = wsikit("doctor")
    assert answer.code == 1
    assert "4 GB free: low" in answer.out


def test_doctor_says_where_it_cannot_write(wsikit: Wsikit) -> None:
    answer = wsikit("doctor", "/proc")
    assert answer.code == 1
    assert "BAD  output folder" in answer.out
