"""Find slides of a store that are copies of one another.

Slides by their thumbnails; collections of pictures by what each picture was made of, which is the
same for two lesions cut from one mammogram, whatever the files' headers, masks and cuts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from wsikit.errors import StoreError
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
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
        The pairs that look like copies, and the slides that have nothing to tell by (they were
        ingested without pixels, or before the store noted what pictures were made of, or they are
        too long and narrow).
    """
    with ThreadPoolExecutor() as threads:
        slides = list(threads.map(store.slide, slide_ids))
        every = list(threads.map(_looks, slides))
    pairs = [Alike(slide_ids[i], slide_ids[j], likeness) for i, j, likeness in alike_pairs(every)]
    origins = {slide.slide_id: slide.origins for slide in slides}
    unseen = [i for i, own in zip(slide_ids, every, strict=True) if not own and not origins[i]]
    return [*pairs, *_of_one_origin(origins)], unseen


def _of_one_origin(origins: Mapping[str, frozenset[str]]) -> list[Alike]:
    """Pair each slide with the first one that shares an origin.

    Where any two of them stand on two sides, one stands on another side than the first.
    """
    first: dict[str, str] = {}
    pairs: dict[tuple[str, str], Alike] = {}
    for slide_id, own in origins.items():
        for origin in own:
            other = first.setdefault(origin, slide_id)
            if other != slide_id:
                pairs[other, slide_id] = Alike(other, slide_id, 1.0)
    return list(pairs.values())


def _looks(slide: StoredSlide) -> tuple[Look, ...]:
    if not slide.has_pixels or slide.is_collection:  # the limit was measured on whole slides
        return ()
    try:
        picture = slide.thumbnail()
    except StoreError:
        return ()
    scale, mpp = slide.thumbnail_scale, slide.mpp_l0
    return looks(picture, Mpp(scale[0] * mpp.x, scale[1] * mpp.y))
