from __future__ import annotations

from pathlib import Path

import pytest

from wsikit.atomic import whole_file
from wsikit.errors import UsageError


def test_a_file_appears_whole_in_a_new_folder(tmp_path: Path):
    path = tmp_path / "new" / "a.txt"
    with whole_file(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail_half_way() -> None:
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UsageError, match=r"cannot write .*b\.txt: .*: choose"),
        whole_file(tmp_path / "file" / "b.txt"),
    ):
        pass
