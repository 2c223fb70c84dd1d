"""Find slides of a store that are copies of one another, by their thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from wsikit.errors import StoreError
from wsikit.store.store import Store
from wsikit.tissue.likeness import Look, alike_pairs, looks
from wsikit.training.splits.audit import Alike
from wsikit.types import Mpp

SHOWN = 10
"""Pairs, and slides that could not be looked at, that are named one by one."""


def find_alike(store: Store, slide_ids: Sequence[str]) -> tuple[list[Alike], list[str]]:
    """Compare every slide with every other.

    Args:
        store: an open store.
        slide_ids: the slides.

    Returns:
        The pairs that look like copies, and the slides that have no thumbnail to look at (they
        were ingested without pixels, are collections of pictures, or are too long and narrow).
    """
    with ThreadPoolExecutor() as threads:
        every = list(threads.map(lambda slide_id: _looks(store, slide_id), slide_ids))
    pairs = [Alike(slide_ids[i], slide_ids[j], likeness) for i, j, likeness in alike_pairs(every)]
    return pairs, [i for i, own in zip(slide_ids, every, strict=True) if not own]


def _looks(store: Store, slide_id: str) -> tuple[Look, ...]:
    slide = store.slide(slide_id)
    if not slide.has_pixels or slide.is_collection:  # the limit was measured on whole slides
        return ()
    try:
        picture = slide.thumbnail()
    except StoreError:
        return ()
    scale, mpp = slide.thumbnail_scale, slide.mpp_l0
    return looks(picture, Mpp(scale[0] * mpp.x, scale[1] * mpp.y))
