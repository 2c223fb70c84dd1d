"""Find slides that hold the same picture and count as two patients': a leak in any split."""

from __future__ import annotations

from collections.abc import Sequence

from wsikit.errors import StoreError
from wsikit.stages.ingest.collection import Source
from wsikit.store.store import Store

SHOWN = 5
"""Pairs that are named one by one."""


def copies_apart(store: Store, sources: Sequence[Source]) -> list[str]:
    """Say which slides hold the same picture under two patients, a line each.

    Nothing is left out: which of the two is right, the pictures do not say.

    Args:
        store: an open store.
        sources: what it was made from, as far as it is there.
    """
    first: dict[str, Source] = {}
    pairs: list[tuple[str, str]] = []
    for source in sources:
        others = [first.setdefault(origin, source) for origin in _origins(store, source.slide_id)]
        apart = {other.slide_id for other in others if other.patient_id != source.patient_id}
        pairs += [(other, source.slide_id) for other in sorted(apart)]
    lines = [
        f"'{one}' and '{other}' hold the same picture under two patients: keep one of them"
        for one, other in pairs[:SHOWN]
    ]
    if len(pairs) > SHOWN:
        lines.append(f"and {len(pairs) - SHOWN} more such pairs")
    return lines


def _origins(store: Store, slide_id: str) -> list[str]:
    try:
        return sorted(store.slide(slide_id).origins)
    except StoreError:  # a damaged slide is told of where it is used
        return []
