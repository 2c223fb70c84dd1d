"""Load a slide's bag from the store."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from wsikit.errors import SlideError
from wsikit.heads.bag import Bag
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide

OUTDATED = "has a graph {} of features since replaced"


def bag_loader(store: Store, encoder_id: str, graph_id: str | None) -> Callable[[str], Bag]:
    """Return a function from slide id to bag.

    Args:
        store: an open store.
        encoder_id: which features.
        graph_id: which graph; None for heads that need none.

    The function raises SlideError for a slide without patches (there is no score of nothing), and
    for a graph of other features than those there now. It can be sent to other processes.
    """
    return partial(_load, store, encoder_id, graph_id)


def _load(store: Store, encoder_id: str, graph_id: str | None, slide_id: str) -> Bag:
    slide = store.slide(slide_id)
    if not slide.patch_count:
        raise SlideError(
            "no tissue was found in it, so there is nothing to score",
            "look at what was dropped: wsikit inspect STORE --patches --slide ID",
        )
    features = torch.from_numpy(slide.features(encoder_id))
    rowcol = torch.from_numpy(slide.patches.rowcol)
    if graph_id is None:
        return Bag(features, rowcol)
    if is_outdated(slide, encoder_id, graph_id):
        raise SlideError(OUTDATED.format(graph_id), "run wsikit graph --overwrite")
    return Bag(features, rowcol, torch.from_numpy(slide.graph(graph_id)[0]))


def is_outdated(slide: StoredSlide, encoder_id: str, graph_id: str) -> bool:
    """Tell whether a graph was made of other features than those there now.

    Graphs of earlier versions do not say what they were made of; they are taken as they are.
    """
    made_of = slide.derived_attributes(f"graphs/{graph_id}").get("features")
    now = slide.derived_attributes(f"features/{encoder_id}").get("recipe_id")
    return made_of is not None and made_of != now
