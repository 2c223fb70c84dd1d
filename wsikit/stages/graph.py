"""Graph: a slide's features in, its nearest-neighbour graph out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wsikit.config import GraphConfig
from wsikit.graphs.knn import knn_graph
from wsikit.stages.progress import Outcome, Progress, Silent
from wsikit.stages.slide_loop import chosen_slides, run_slides
from wsikit.stages.stored_names import find_encoder_id, graph_id
from wsikit.store.derived_writer import write_graph
from wsikit.store.recipe import recipe_id
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide

ALGORITHM = 1


def run_graph(
    store_path: Path,
    config: GraphConfig,
    encoder: str,
    *,
    slide_ids: Sequence[str] | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> tuple[str, Outcome]:
    """Build graphs over a store's features.

    Args:
        store_path: the store.
        config: kind and k.
        encoder: name or id of the features.
        slide_ids: only these; default all that are tiled.
        progress: told of each slide.
        overwrite: redo what another recipe made.

    Returns:
        The graph id, and what became of each slide.

    Raises:
        StoreError: the store cannot be used or has no such features.
    """
    store = Store(store_path)
    chosen = chosen_slides(store, slide_ids)
    identity = find_encoder_id(store, encoder)
    name = graph_id(config.kind, config.k, identity)

    def recipe_of(slide: StoredSlide) -> str:
        features = slide.derived_attributes(f"features/{identity}").get("recipe_id")
        return recipe_id(
            {"algorithm": ALGORITHM, "features": features, "kind": config.kind, "k": config.k}
        )

    def done_recipe(slide: StoredSlide) -> str | None:
        return slide.derived_attributes(f"graphs/{name}").get("recipe_id")

    def work(slide: StoredSlide, recipe: str) -> str:
        features = slide.features(identity).astype(np.float32)
        edges, distance = knn_graph(features, config.k)
        write_graph(store, slide.slide_id, name, edges, distance, {"recipe_id": recipe})
        return f"{len(features)} patches, {edges.shape[1]} edges"

    with store.lock():
        outcome = run_slides(
            store, f"graph.{name}", chosen, recipe_of, done_recipe, work,
            progress or Silent(), overwrite,
        )  # fmt: skip
    return name, outcome
