"""Keep what C libraries print to stderr off the user's screen."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.Lock()
_STDERR = 2
_GLIB = (b"OpenSlide-", b"GLib-")


@contextmanager
def without_chatter() -> Iterator[None]:
    """Drop GLib's messages of this block, such as OpenSlide's warnings; pass on all else.

    Such a message is no error that is raised: the slide is judged by what is read. Python cannot
    ask GLib to be silent where it is linked into OpenSlide, so the descriptor itself is caught.
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
                if line.strip() and not any(mark in line for mark in _GLIB):
                    os.write(_STDERR, line)
