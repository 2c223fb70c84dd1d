"""Make what a store's slides still lack before a model can score them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wsikit.errors import StoreError, WsikitError
from wsikit.stages.extraction.extract import extract_features
from wsikit.stages.graphs.graph import run_graph
from wsikit.stages.progress import Progress
from wsikit.stages.training.model_folder import Model
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide

Failed = dict[str, str]
"""Slide id -> why it cannot be scored."""


def make_missing(
    store: Store,
    model: Model,
    slide_ids: Sequence[str],
    progress: Progress,
    *,
    weights: str | None = None,
    device: str = "auto",
) -> Failed:
    """Describe tiled slides as a model's own slides were, as far as that is not done.

    Args:
        store: holds the slides, tiled.
        model: says how.
        slide_ids: the slides.
        progress: told of each stage that has something to do.
        weights: the encoder's, where they are not in the model's folder nor to be had by name.
        device: words for `resolve_devices`.

    Returns:
        The slides that could not be done, each with the reason.

    Raises:
        WeightsError: features are missing, and the encoder's weights are not at hand.
        StoreError: the model does not say how; or the store cannot be written.
    """
    if not model.needs_features:
        return {}
    try:
        return _make(store, model, slide_ids, progress, weights, device)
    except OSError as error:
        raise StoreError(
            f"{store.path}: features or graphs are missing, and cannot be written here "
            f"({error.strerror or error})",
            "use a copy of the store, or give the slides themselves",
        ) from error


def _make(
    store: Store,
    model: Model,
    slide_ids: Sequence[str],
    progress: Progress,
    weights: str | None,
    device: str,
) -> Failed:
    encoder_id, graph_id = model.facts.encoder_id, model.facts.graph_id
    lacking = _those(store, slide_ids, lambda s: encoder_id not in s.encoder_ids())
    failed = {
        slide_id: f"was ingested without pixels, and has no features by {encoder_id}: ingest these"
        for slide_id in lacking
        if not store.slide(slide_id).has_pixels
    }
    lacking = [slide_id for slide_id in lacking if slide_id not in failed]
    if lacking:
        encoder = model.encoder(weights)
        made = extract_features(
            store.path, model.extract(),
            device=device, slide_ids=lacking, progress=progress, encoders={encoder_id: encoder},
        )  # fmt: skip
        failed |= made.outcome.failed
    if graph_id is None:
        return failed
    described = [slide_id for slide_id in slide_ids if slide_id not in failed]
    lacking = _those(store, described, lambda s: graph_id not in s.graph_ids())
    if lacking:
        _, outcome = run_graph(
            store.path, model.graph(), encoder_id, slide_ids=lacking, progress=progress
        )
        failed |= outcome.failed
    return failed


def _those(
    store: Store, slide_ids: Sequence[str], lacks: Callable[[StoredSlide], bool]
) -> list[str]:
    """Return the slides that lack something; what is damaged or empty is told when it is scored."""
    found = []
    for slide_id in slide_ids:
        try:
            slide = store.slide(slide_id)
            if slide.patch_count and lacks(slide):
                found.append(slide_id)
        except WsikitError:
            continue
    return found
