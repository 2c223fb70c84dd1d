"""Thousands of damaged files: each is read or refused in one line, quickly, in little memory.

The mutants of a seed are the same each time: `mutant(originals, seed, number)` makes one again.
`WSIKIT_MUTANT_SEED` chooses another seed.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.slides.mutant_originals import made_originals, real_originals
from tests.slides.mutations import Original, mutant

SEED = int(os.environ.get("WSIKIT_MUTANT_SEED", "0"))
LIMIT_S = 30
LIMIT_BYTES = 1 << 30
LONGEST_LINE = 800

READER = ("-W", "always::UserWarning", "-W", "always::RuntimeWarning", "-m",
          "tests.slides.mutant_reader")  # fmt: skip


class Reader:
    """A process that reads one slide after the other, and is replaced where it does not survive."""

    def __init__(self, *call: str, limit_s: float = LIMIT_S) -> None:
        self._call, self._limit_s = call, limit_s
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *self._call],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert self._line(120), "the reader does not start"

    def read(self, path: Path) -> dict[str, Any]:
        """Return what became of a slide: `outcome` is `hang` or `crash` where the process went."""
        self._process.stdin.write(json.dumps(str(path)).encode() + b"\n")
        self._process.stdin.flush()
        line = self._line(self._limit_s)
        if line:
            return json.loads(line)
        outcome = "crash" if line == b"" else "hang"
        self.close()
        self._start()
        return {"outcome": outcome}

    def renew(self) -> None:
        """Start afresh, so that the next excess of memory is seen too."""
        self.close()
        self._start()

    def _line(self, limit_s: float) -> bytes | None:
        """Wait for a line; empty where the process ended, None where the time is up."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            return self._process.stdout.readline() if selector.select(limit_s) else None

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    child = Reader(*READER)
    yield child
    child.close()


@pytest.fixture(scope="module")
def made() -> list[Original]:
    return made_originals()


@pytest.fixture(scope="module")
def real(real_data: Path) -> list[Original]:
    return real_originals(real_data)


def problems(told: dict[str, Any], name: str) -> list[str]:
    """Say in which way an answer breaks the promise."""
    if told["outcome"] in ("crash", "hang", "foreign"):
        return [told["outcome"]]
    found = [f"{kind} memory" for kind in ("resident", "virtual") if told[kind] > LIMIT_BYTES]
    if told["noise"]:
        found.append("noise on stderr")
    lines = [error.partition(": ")[2] for error in told["errors"]]
    if not all(
        line.startswith(f"{name}: ") and line.isprintable() and len(line) < LONGEST_LINE
        for line in lines
    ):
        found.append("a message that is not one line about the file")
    return found


def survey(
    originals: Sequence[Original], seed: int, numbers: range, reader: Reader, folder: Path
) -> Counter[str]:
    """Read mutants; fail with all that break the promise, each with what makes it again."""
    outcomes: Counter[str] = Counter()
    broken = []
    for number in numbers:
        damaged = mutant(originals, seed, number)
        path = damaged.original.write(folder, damaged.changed)
        told = reader.read(path)
        outcomes[told["outcome"]] += 1
        wrong = problems(told, damaged.original.name)
        if wrong:
            broken.append(f"{seed}/{number} {damaged.original.name} {damaged.how}: {wrong} {told}")
        if any("memory" in problem for problem in wrong):
            reader.renew()
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert not broken, "\n".join(broken)
    return outcomes


def assert_varied(outcomes: Counter[str]) -> None:
    """Check that mutants are neither all refused nor all untouched, or the survey shows little."""
    total = outcomes.total()
    assert min(outcomes["read"], outcomes["refused"], outcomes["damaged"]) > 0.05 * total


def test_the_originals_are_sound(made: list[Original], reader: Reader, tmp_path: Path) -> None:
    for original in made:
        told = reader.read(original.write(tmp_path))
        assert told["outcome"] == "read", told
        assert all("MppError" in error for error in told["errors"]), told


def test_mutants_of_made_slides(made: list[Original], reader: Reader, tmp_path: Path) -> None:
    assert_varied(survey(made, SEED, range(180), reader, tmp_path))


def test_mutants_of_real_slides(real: list[Original], reader: Reader, tmp_path: Path) -> None:
    for original in real:
        assert reader.read(original.write(tmp_path / "sound"))["outcome"] == "read"
    assert_varied(survey(real, SEED, range(120), reader, tmp_path))


@pytest.mark.slow
def test_two_thousand_mutants(
    made: list[Original], real: list[Original], reader: Reader, tmp_path: Path
) -> None:
    assert_varied(survey([*made, *real], SEED + 1, range(2000), reader, tmp_path))


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("input(); import time; time.sleep(60)", "hang"),
        ("input(); import os; os.abort()", "crash"),
        ("input(); raise SystemExit(1)", "crash"),
    ],
)
def test_a_crash_and_a_hang_are_seen(tmp_path: Path, body: str, outcome: str) -> None:
    child = Reader("-c", f"print('ready', flush=True); {body}", limit_s=0.5)
    assert child.read(tmp_path / "any.svs") == {"outcome": outcome}
    child.close()


def test_excess_and_noise_are_seen() -> None:
    fine = {"outcome": "read", "errors": [], "resident": 0, "virtual": 0, "noise": ""}
    assert problems(fine, "a.svs") == []
    assert problems(fine | {"virtual": 2 << 30}, "a.svs") == ["virtual memory"]
    assert problems(fine | {"noise": "warning"}, "a.svs") == ["noise on stderr"]
    assert problems({"outcome": "foreign"}, "a.svs") == ["foreign"]
    for line in ("SlideError: b.svs: no", "SlideError: a.svs: one\ntwo", "SlideError: a.svs: \x1b"):
        assert problems(fine | {"errors": [line]}, "a.svs")
