"""Tell whether a slide is still the one it was: a hash of its content, and a quick stamp."""

from __future__ import annotations

import hashlib
from pathlib import Path

from wsikit.errors import SlideError
from wsikit.slides.files import slide_files, unreadable


def fingerprint(path: Path) -> str:
    """Hash the content of every file that makes up a slide, streaming.

    Args:
        path: the slide's file, or the folder of a DICOM series.

    Returns:
        SHA-256 in hex: of the file, where it is one (what `sha256sum` prints); else of the files'
        own digests one after the other, in the order of `slide_files`. No name enters it.

    Raises:
        SlideError: a file is missing or cannot be read.
    """
    digests = [_digest(file) for file in slide_files(path)]
    if not digests:
        raise SlideError(f"{path.name}: the folder holds no DICOM files", "check the path")
    if len(digests) == 1:
        return digests[0].hex()
    return hashlib.sha256(b"".join(digests)).hexdigest()


def quick_stamp(path: Path) -> list[tuple[int, int]]:
    """Return (size in bytes, modification time in ns) of every file that makes up a slide.

    A slide whose stamp is unchanged need not be hashed again. The stamp depends on the machine, so
    it is no part of a recipe.

    Raises:
        SlideError: a file is missing or cannot be read.
    """
    try:
        stats = [file.stat() for file in slide_files(path)]
    except OSError as error:
        raise unreadable(path, error) from error
    return [(stat.st_size, stat.st_mtime_ns) for stat in stats]


def _digest(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise unreadable(file, error) from error
