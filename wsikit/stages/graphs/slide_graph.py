"""Read one slide's stored graph as torch-geometric has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wsikit.config import GraphConfig
from wsikit.graphs.pyg import graph_data
from wsikit.stages.stored_names import find_encoder_id, graph_id
from wsikit.store.store import Store

if TYPE_CHECKING:
    from torch_geometric.data import Data


def slide_graph(
    store_path: Path, slide_id: str, encoder: str, config: GraphConfig | None = None
) -> Data:
    """Return a slide's features, graph and places.

    Args:
        store_path: a store with features and graphs.
        slide_id: a tiled slide.
        encoder: name or id of the features.
        config: which graph; default the usual one.

    Returns:
        See `wsikit.graphs.graph_data`.

    Raises:
        StoreError: the store, the slide, its features or its graph cannot be read.
        UsageError: the graph does not fit the features.
    """
    store = Store(store_path)
    slide = store.slide(slide_id)
    identity = find_encoder_id(store, encoder)
    features = slide.features(identity)
    edges, distance = slide.graph(graph_id(config or GraphConfig(), identity))
    return graph_data(features, edges, distance, slide.patches.xy_l0)
