"""Errors a user can act on: what happened, where, and what to do about it.

Every error wsikit raises on purpose derives from `WsikitError`; the command line prints its
message as one line and never a traceback. `exit_code` follows the design: 1 when work failed,
2 when the call or the configuration is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class WsikitError(Exception):
    """Report a failure in one line.

    Args:
        what: what is wrong, naming the file or value.
        fix: what the user can do about it, as an imperative; empty if nothing can be done.
    """

    exit_code = 1

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what, fix)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        line = f"{self.what}: {self.fix}" if self.fix else self.what
        one_line = " ".join(line.split())
        # A hostile file's name or header could hold what a terminal takes for commands.
        return "".join(c if c.isprintable() else "?" for c in one_line)


class UsageError(WsikitError):
    """The call is wrong: an option, a path or a combination of them."""

    exit_code = 2


class ConfigError(UsageError):
    """The configuration is wrong: an unknown key or a value out of range."""


class CohortError(UsageError):
    """The cohort table is wrong: a column, an id or a label."""


class StoreError(UsageError):
    """The store or run cannot be used as asked: absent, foreign, or made by another recipe."""


class SlideError(WsikitError):
    """One slide cannot be processed; the others go on."""


class MppError(SlideError):
    """The slide has no usable micrometres-per-pixel value."""


class WeightsError(UsageError):
    """An encoder's weights are not at hand or cannot be trusted."""


LISTED = 500
"""Characters of a list of all valid words, in a message about one that is close to none."""

NEAREST = 3
"""Words that are named where the list would be longer."""


def nearest(word: str, valid: Iterable[str]) -> str:
    """Name the valid word most like `word`, as the tail of an error message.

    Args:
        word: what the user wrote.
        valid: every word that would have been accepted.

    Returns:
        ``did you mean 'x'?`` where one begins with it or is close, else ``use one of: a, b, c``; of
        too many to list, as the slides of a store, ``the nearest of 1696 are: a, b, c``.
    """
    choices = sorted(valid)
    begun = [choice for choice in choices if choice.startswith(word)] if word else []
    close = begun if len(begun) == 1 else get_close_matches(word, choices, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    listed = ", ".join(choices)
    if len(listed) <= LISTED:
        return f"use one of: {listed}"
    holding = [choice for choice in choices if word in choice][:NEAREST]  # as a patient's number
    closest = holding or get_close_matches(word, choices, NEAREST, cutoff=0.0)
    return f"the nearest of {len(choices)} are: {', '.join(closest)}"


def few(words: Sequence[str], shown: int = 3, joint: str = ", ") -> str:
    """Name the first of many things, and how many more there are, for an error's one line."""
    said = joint.join(words[:shown])
    more = len(words) - shown
    return said if more < 1 else f"{said}{joint.rstrip(', ')} and {more} more"
