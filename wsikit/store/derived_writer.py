"""Write what is computed from a stored slide: features and graphs, whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from wsikit.atomic import replace_folder
from wsikit.store.store import Store
from wsikit.store.stored_slide import MISSING
from wsikit.types import FloatArray

FEATURE_ROWS = 1024
"""Rows a chunk of features holds, so that a bag is read in few pieces."""

EDGE_CHUNK = 1 << 18


def write_features(
    store: Store,
    slide_id: str,
    encoder_id: str,
    features: NDArray[np.floating[Any]],
    attributes: Mapping[str, Any],
) -> None:
    """Store one encoder's features of one slide, replacing earlier ones.

    Args:
        store: an open store.
        slide_id: a tiled slide.
        encoder_id: identity of the encoder and its weights.
        features: (N, D) float16 or float32, one row a patch in index order.
        attributes: recorded beside them, `recipe_id` among them.
    """
    staged = _staged(store, f"{slide_id}.features.{encoder_id}")
    array = zarr.create_array(
        staged,
        data=np.ascontiguousarray(features),
        chunks=(min(max(1, len(features)), FEATURE_ROWS), max(1, features.shape[1])),
        compressors=[ZstdCodec()],
        fill_value=np.nan,
    )
    array.update_attributes(dict(attributes))
    replace_folder(staged, store.slide_path(slide_id) / "features" / encoder_id)


def write_graph(
    store: Store,
    slide_id: str,
    graph_id: str,
    edge_index: NDArray[np.int64],
    distance: FloatArray,
    attributes: Mapping[str, Any],
) -> None:
    """Store one graph of one slide, replacing an earlier one.

    Args:
        store: an open store.
        slide_id: a tiled slide.
        graph_id: identity of the graph: kind, k and encoder.
        edge_index: (2, E) int64, source and target patch.
        distance: (E,) float32.
        attributes: recorded beside them, `recipe_id` among them.
    """
    staged = _staged(store, f"{slide_id}.graphs.{graph_id}")
    group = zarr.create_group(staged)
    group.update_attributes(dict(attributes))
    columns = min(max(1, edge_index.shape[1]), EDGE_CHUNK)
    group.create_array(
        "edge_index",
        data=edge_index,
        chunks=(2, columns),
        compressors=[ZstdCodec()],
        fill_value=MISSING,
    )
    group.create_array(
        "distance",
        data=distance,
        chunks=(columns,),
        compressors=[ZstdCodec()],
        fill_value=np.nan,
    )
    replace_folder(staged, store.slide_path(slide_id) / "graphs" / graph_id)


def _staged(store: Store, name: str) -> Path:
    staged = store.staging_path(name)
    shutil.rmtree(staged, ignore_errors=True)
    return staged
