"""A table from names to factories, with an error that names the nearest known name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from wsikit.errors import ConfigError, nearest

T = TypeVar("T")


class Registry(Generic[T]):
    """Look things up by the name a user writes.

    Args:
        kind: what is registered, in the singular, for messages ("encoder", "head").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._families: dict[str, Callable[[str], T]] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its argument under `name`.

        Raises:
            ValueError: `name` is taken.
        """

        def add(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} '{name}' is registered twice")
            self._entries[name] = entry
            return entry

        return add

    def register_family(self, prefix: str, make: Callable[[str], T]) -> None:
        """Let `make` answer for all names that begin with `prefix`; it is given the rest of one.

        Members of a family are not listed: iterating gives the names registered one by one.
        """
        self._families[prefix] = make

    def __getitem__(self, name: str) -> T:
        """Return the entry called `name`.

        Raises:
            ConfigError: there is none; the message names the nearest one.
        """
        if name in self._entries:
            return self._entries[name]
        for prefix, make in self._families.items():
            if name.startswith(prefix):
                return make(name.removeprefix(prefix))
        valid = [*self._entries, *(f"{prefix}NAME" for prefix in self._families)]
        raise ConfigError(f"unknown {self.kind} '{name}'", nearest(name, valid))

    def __contains__(self, name: object) -> bool:
        return name in self._entries or (
            isinstance(name, str) and name.startswith(tuple(self._families))
        )

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))
