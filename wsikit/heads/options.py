"""Check what a user sets for a head, where the head is built."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from wsikit.errors import ConfigError, nearest


def options_of(build: Callable[..., Any]) -> dict[str, Any]:
    """Return what can be set for a head, with its defaults: its keyword-only arguments."""
    parameters = inspect.signature(build).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def refuse_unknown(who: str, asked: Iterable[str], known: Mapping[str, Any]) -> None:
    """Refuse an option that there is not.

    Raises:
        ConfigError: one of `asked` is not in `known`.
    """
    for option in asked:
        if option not in known:
            fix = nearest(option, known) if known else "it has none"
            raise ConfigError(f"{who} has no option '{option}'", fix)


def check_at_least(name: str, value: int, least: int) -> None:
    """Refuse a whole number that is too small.

    Raises:
        ConfigError: `value` is less than `least`, or no whole number.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} is {value!r}", f"give a whole number of at least {least}")


def check_share(name: str, value: float) -> None:
    """Refuse a share outside 0 <= value < 1.

    Raises:
        ConfigError: it lies outside, or is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ConfigError(f"{name} is {value!r}", "give a number from 0 up to, not including, 1")
