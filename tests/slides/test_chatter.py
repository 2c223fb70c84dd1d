from __future__ import annotations

import os

from wsikit.slides.chatter import without_chatter


def test_only_the_libraries_messages_are_dropped(capfd):
    with without_chatter():
        os.write(2, b"\n(process:1): OpenSlide-WARNING **: 12:00:00: levels not ordered\n")
        os.write(2, b"something else\n")
        os.write(2, b"CRITICAL [Sat Nov 21 15:23:30 2026] - DcmError set twice\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "something else\nafter\n"


def test_a_closed_stderr_is_no_error():
    kept = os.dup(2)
    os.close(2)
    try:
        with without_chatter():
            inside = True
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert inside
