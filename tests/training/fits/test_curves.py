"""Curves as TensorBoard itself reads them."""

from __future__ import annotations

import getpass
import os
import socket
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from wsikit.errors import UsageError
from wsikit.training.fits.curves import Curves
from wsikit.training.fits.fit import FitOptions, fit_head

ROWS = [{"loss/train": 1 / n, "auc/val": None if n == 2 else n / 10} for n in range(1, 6)]


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }


def expected(rows=ROWS) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for step, row in enumerate(rows, start=1):
        for tag, value in row.items():
            if value is not None:
                found.setdefault(tag, []).append((step, pytest.approx(value)))
    return found


def test_tensorboard_reads_what_was_measured(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "logs" / "fold0")
    for epoch in range(1, 6):
        curves.catch_up(ROWS[:epoch])
    assert read(tmp_path / "logs" / "fold0") == expected()
    before = curves.path.read_bytes()
    curves.catch_up(ROWS)
    assert curves.path.read_bytes() == before


@pytest.mark.parametrize("lost", [1, 3, 40])
def test_what_a_kill_left_half_written_is_written_again_and_nothing_twice(
    tmp_path: Path, lost: int
) -> None:
    curves = Curves(tmp_path)
    curves.catch_up(ROWS[:3])
    inode = curves.path.stat().st_ino
    curves.path.write_bytes(curves.path.read_bytes()[:-lost])
    Curves(tmp_path).catch_up(ROWS)
    assert read(tmp_path) == expected()
    assert curves.path.stat().st_ino == inode  # a TensorBoard that reads it goes on
    assert [path.name for path in tmp_path.iterdir()] == [curves.path.name]


def test_epochs_that_are_trained_again_are_taken_back(tmp_path: Path) -> None:
    curves = Curves(tmp_path)
    curves.catch_up(ROWS)
    curves.catch_up(ROWS[:2])
    assert read(tmp_path) == expected(ROWS[:2])
    curves.path.write_bytes(b"no event file at all")
    curves.catch_up(ROWS)
    assert read(tmp_path) == expected()


def test_neither_host_nor_user_nor_place_is_told(tmp_path: Path) -> None:
    curves = Curves(tmp_path)
    curves.catch_up(ROWS)
    for word in (socket.gethostname(), getpass.getuser(), str(os.getpid()), str(tmp_path)):
        assert word.encode() not in curves.path.read_bytes() or len(word) < 3
        assert word not in curves.path.name


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        Curves(tmp_path / "file" / "logs").catch_up(ROWS)


def test_a_fit_that_is_killed_shows_every_epoch_once(tiny_head, make_bags, tmp_path) -> None:
    class Killed(BaseException):
        pass

    def fit(stop: int) -> None:
        def tell(epoch, *_):
            if epoch == stop:
                raise Killed

        fit_head(
            tiny_head(), make_bags(range(8)), make_bags(range(100, 106)),
            FitOptions(epochs=5, lr=1e-2, device="cpu"), tmp_path / "fit", tell, tmp_path / "logs",
        )  # fmt: skip

    for stop in (1, 3):
        with pytest.raises(Killed):
            fit(stop)
    (tmp_path / "logs" / "events.out.tfevents.wsikit").unlink()  # as if lost with another disk
    fit(0)
    lines = (tmp_path / "fit" / "history.csv").read_text().splitlines()[1:]
    history = [line.split(",") for line in lines]
    found = read(tmp_path / "logs")
    for column, tag in ((1, "loss/train"), (2, "loss/val"), (3, "auc/val")):
        assert found[tag] == [(int(r[0]), pytest.approx(float(r[column]))) for r in history]
    assert {p.name for p in (tmp_path / "fit").iterdir()} == {
        "head.safetensors", "fit.json", "history.csv",
    }  # fmt: skip
