"""Check what a user sets for a head, where the head is built."""

from __future__ import annotations

from wsikit.errors import ConfigError


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
