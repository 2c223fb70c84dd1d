"""Keep what C libraries print to stderr off the user's screen."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.Lock()
_STDERR = 2
_CHATTER = re.compile(rb"\(process:\d+\): |(CRITICAL|ERROR|WARNING) +\[")
"""How lines of GLib, which OpenSlide warns through, and of libdicom begin."""


@contextmanager
def without_chatter() -> Iterator[None]:
    """Drop OpenSlide's and libdicom's messages of this block; pass on all else.

    Such a message is no error that is raised: the slide is judged by what is read. Python cannot
    ask libraries linked into OpenSlide to be silent, so the descriptor itself is caught.
    """
    with _LOCK, tempfile.TemporaryFile() as caught:
        try:
            kept = os.dup(_STDERR)
        except OSError:  # stderr is closed: nobody listens
            yield
            return
        os.dup2(caught.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            caught.seek(0)
            for line in caught:
                if line.strip() and not _CHATTER.match(line):
                    os.write(_STDERR, line)
