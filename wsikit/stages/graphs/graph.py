"""Graph: a slide's features in, the edges between its patches out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsikit.config import GraphConfig
from wsikit.graphs.build import Graph, build_graph
from wsikit.graphs.search import Search
from wsikit.stages.progress import Outcome, Progress, Silent
from wsikit.stages.slide_loop import chosen_slides, run_slides
from wsikit.stages.stored_names import find_encoder_id, graph_id
from wsikit.store.derived_writer import write_graph
from wsikit.store.recipe import recipe_id
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide

ALGORITHM = 1
SEARCH = "inverted lists 1"
"""What finds neighbours beyond `graph.exact_up_to`, as recipes name it."""


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
        config: kind, k and how to search.
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
    name = graph_id(config, identity)

    def features_of(slide: StoredSlide) -> str | None:
        return slide.derived_attributes(f"features/{identity}").get("recipe_id")

    def recipe_of(slide: StoredSlide) -> str:
        return recipe_id(_recipe(config, features_of(slide), len(slide.patches)))

    def done_recipe(slide: StoredSlide) -> str | None:
        return slide.derived_attributes(f"graphs/{name}").get("recipe_id")

    def work(slide: StoredSlide, recipe: str) -> str:
        graph = _build(slide, config, identity)
        attributes: dict[str, Any] = {"recipe_id": recipe, "features": features_of(slide)}
        if graph.recall is not None:
            attributes["recall"] = round(graph.recall, 4)
        write_graph(store, slide.slide_id, name, graph.edge_index, graph.distance, attributes)
        words = f"{len(slide.patches)} patches, {graph.edge_index.shape[1]} edges"
        return words if graph.recall is None else f"{words}, recall {graph.recall:.3f}"

    with store.lock():
        outcome = run_slides(
            store, f"graph.{name}", chosen, recipe_of, done_recipe, work,
            progress or Silent(), overwrite,
        )  # fmt: skip
    return name, outcome


def _build(slide: StoredSlide, config: GraphConfig, encoder_id: str) -> Graph:
    features = slide.features(encoder_id).astype(np.float32)
    search = Search(config.exact_up_to, config.min_recall)
    return build_graph(
        config.kind, features, slide.patches.rowcol, config.k,
        symmetrise=config.symmetrise, search=search,
    )  # fmt: skip


def _recipe(config: GraphConfig, features: str | None, patches: int) -> dict[str, Any]:
    """Return what decides a slide's graph; nothing that makes no difference to it."""
    recipe: dict[str, Any] = {"algorithm": ALGORITHM, "features": features, "kind": config.kind}
    if config.kind == "spatial":
        return recipe
    recipe["k"] = config.k
    if not config.symmetrise:
        recipe["symmetrise"] = False
    if patches > config.exact_up_to:
        recipe["search"] = {"by": SEARCH, "min_recall": config.min_recall}
        recipe["search"]["exact_up_to"] = config.exact_up_to
    return recipe
