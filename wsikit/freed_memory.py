"""Have the C library keep memory that is freed, for the next array of that size."""

from __future__ import annotations

import ctypes
import os
import sys

KEPT_BYTES = 512 << 20
"""Most free memory at the heap's end that is kept, and the least block that never is."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""What `malloc.h` of glibc calls M_TRIM_THRESHOLD and M_MMAP_THRESHOLD."""

_OWN_WORDS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> None:
    """Set the C library's thresholds for this process, where it is glibc.

    By itself it hands each freed block of more than 32 MB back to the system, and the next one pays
    for its pages anew: up to a third of the time of a network on a processor. The most memory that
    a process holds grows by little, as what is kept is used again. What the user's environment says
    of it goes before.
    """
    if not sys.platform.startswith("linux") or any(word in os.environ for word in _OWN_WORDS):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
