"""A file is whole or absent, whatever interrupts its writing."""

from __future__ import annotations

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
