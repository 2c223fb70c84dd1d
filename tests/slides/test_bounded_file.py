from __future__ import annotations

import tracemalloc

import pytest

from wsikit.slides.bounded_file import BoundedFile


def test_reads_as_any_file(tmp_path):
    path = tmp_path / "a"
    content = bytes(range(256)) * 100
    path.write_bytes(content)
    with BoundedFile(path) as file, path.open("rb") as other:
        for size in (0, 1, 700, 20_000):
            assert file.read(size) == other.read(size)
            assert file.tell() == other.tell()
        assert file.read() == other.read()
        assert file.read(9) == b""
        file.seek(100)
        assert file.read(-1) == content[100:]
        file.seek(10**9)
        assert file.read(5) == b""


@pytest.mark.parametrize("size", [1 << 31, 1 << 40, (1 << 62) + 1])
def test_no_buffer_is_made_for_what_is_not_there(tmp_path, size):
    path = tmp_path / "a"
    path.write_bytes(b"four")
    with BoundedFile(path) as file:
        tracemalloc.start()
        assert file.read(size) == b"four"
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1 << 16
