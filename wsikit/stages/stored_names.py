"""Find a store's features and graphs by the short names a user writes."""

from __future__ import annotations

from wsikit.config import GraphConfig
from wsikit.encoders.registry import id_prefix
from wsikit.errors import StoreError, nearest
from wsikit.store.store import Store


def find_encoder_id(store: Store, name: str) -> str:
    """Return the id of the stored features that `name` means.

    Args:
        store: an open store.
        name: an encoder's name, like `resnet18`, or a whole encoder id.

    Raises:
        StoreError: no slide has such features, or the name fits several ids.
    """
    ids = store.encoder_ids()
    if name in ids:
        return name
    fitting = sorted(i for i in ids if i.startswith(f"{id_prefix(name)}-"))
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise StoreError(
            f"{store.path}: '{name}' has features by several weights ({', '.join(fitting)})",
            "name one of these ids with --encoder",
        )
    if ids:
        raise StoreError(f"{store.path}: no features by '{name}'", nearest(name, ids))
    raise StoreError(f"{store.path}: no features yet", "run wsikit extract first")


def graph_id(config: GraphConfig, encoder_id: str) -> str:
    """Return the id of a graph: its kind, its k, what else is not as usual, and its features.

    Args:
        config: how the graph is built.
        encoder_id: the features it is built on.

    Returns:
        Such as `knn8-resnet18-random-301f1a8d`, `spatial-...` (which has no k and no search) or
        `hybrid8-directed-recall0.99-...`.
    """
    if config.kind == "spatial":
        return f"spatial-{encoder_id}"
    usual = GraphConfig()
    parts = [f"{config.kind}{config.k}"]
    if not config.symmetrise:
        parts.append("directed")
    if config.exact_up_to != usual.exact_up_to:
        parts.append(f"exact{config.exact_up_to}")
    if config.min_recall != usual.min_recall:
        parts.append(f"recall{config.min_recall}")
    return "-".join([*parts, encoder_id])
