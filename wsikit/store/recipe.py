"""The recipe: everything that decides a stage's output, and its identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from wsikit.errors import few

Recipe = Mapping[str, Any]

NAMED = 8
"""Differences of two recipes that an error names."""


def recipe_id(recipe: Recipe) -> str:
    """Return the SHA-256 (hex) of a recipe's canonical JSON: keys sorted, no white space."""
    canonical = json.dumps(recipe, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def differences(old: Recipe, new: Recipe, prefix: str = "") -> list[str]:
    """List the keys in which two recipes differ, as `key: old -> new`."""
    found: list[str] = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {a} -> {b}")
    return found


def in_short(changed: Sequence[str]) -> str:
    """Name the first of some differences, and how many more there are."""
    return few(changed, NAMED, "; ")
