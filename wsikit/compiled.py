"""Compile a loop over pixels or edges to machine code, on its first call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Return a function that numba compiles when first called, without Python's lock.

    The machine code is kept on disk for the next process, where there is a place to keep it: beside
    the source, in the user's cache, or in NUMBA_CACHE_DIR. Arithmetic stays strict IEEE, so results
    do not depend on the machine.

    Args:
        function: loops over NumPy arrays and numbers.
    """
    try:
        return cast(F, njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no such place can be written, as in some containers
        return cast(F, njit(nogil=True)(function))
