"""Load a slide's bag from the store."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from wsikit.errors import SlideError
from wsikit.heads.bag import Bag
from wsikit.store.store import Store


def bag_loader(store: Store, encoder_id: str, graph_id: str | None) -> Callable[[str], Bag]:
    """Return a function from slide id to bag.

    Args:
        store: an open store.
        encoder_id: which features.
        graph_id: which graph; None for heads that need none.

    The function raises SlideError for a slide without patches: there is no score of nothing. It can
    be sent to other processes.
    """
    return partial(_load, store, encoder_id, graph_id)


def _load(store: Store, encoder_id: str, graph_id: str | None, slide_id: str) -> Bag:
    slide = store.slide(slide_id)
    if not slide.patch_count:
        raise SlideError(
            "no tissue was found in it, so there is nothing to score",
            "look at what was dropped: wsikit inspect STORE --patches --slide ID",
        )
    features = torch.from_numpy(slide.features(encoder_id).astype(np.float32))
    rowcol = torch.from_numpy(slide.patches.rowcol)
    if graph_id is None:
        return Bag(features, rowcol)
    return Bag(features, rowcol, torch.from_numpy(slide.graph(graph_id)[0]))
