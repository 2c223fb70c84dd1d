"""A file is whole or absent, whatever interrupts its writing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from wsikit.atomic import replace_folder, whole_file, write_bytes, write_json
from wsikit.errors import UsageError


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half() -> None:
        with whole_file(target) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_killed_process_left_is_swept_and_a_living_ones_file_is_not(tmp_path: Path) -> None:
    """A process of its own writes half a file and is killed; one still alive keeps its part."""
    half = """
import os, signal, sys
from pathlib import Path
from wsikit.atomic import whole_file
with whole_file(Path(sys.argv[1])) as part:
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", half, str(tmp_path / "dead.txt")], check=False)
    assert len(list(tmp_path.glob(".*.part"))) == 1
    with whole_file(tmp_path / "other.txt") as living:
        living.write_text("whole")
        assert list(tmp_path.iterdir()) == [living]
        write_bytes(tmp_path / "a.txt", b"")
        assert living.exists()
    assert {p.name for p in tmp_path.iterdir()} == {"other.txt", "a.txt"}


def test_a_write_makes_its_folder(tmp_path: Path) -> None:
    write_bytes(tmp_path / "x" / "y", b"data")
    write_json(tmp_path / "x" / "z.json", {"b": 1, "a": None})
    assert (tmp_path / "x" / "y").read_bytes() == b"data"
    assert (tmp_path / "x" / "z.json").read_text() == '{\n "b": 1,\n "a": null\n}\n'


def test_an_unwritable_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        write_bytes(tmp_path / "file" / "below", b"")


def test_not_a_number_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"auc": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    staged, final = tmp_path / "staging" / "s", tmp_path / "slides" / "s"
    for folder, word in ((final, "old"), (staged, "new")):
        folder.mkdir(parents=True)
        (folder / word).touch()
    replace_folder(staged, final)
    assert [p.name for p in final.iterdir()] == ["new"]
    assert not list((tmp_path / "staging").iterdir())
