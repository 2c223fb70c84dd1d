"""Read an untrusted file without giving its lengths the say over memory."""

from __future__ import annotations

import io
import os
from pathlib import Path


class BoundedFile(io.BufferedReader):
    """Read no more than the file has left.

    Python makes a buffer of the size that is asked for before it reads. Parsers ask for what a
    header states, which in a damaged file may be 4 GB.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes; all that is left where it is negative or None."""
        left = max(0, os.fstat(self.fileno()).st_size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))
