"""A first look at slides without labels: where tissue is, and which patches look alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from wsikit.heatmap.clusters import draw_clusters
from wsikit.heatmap.overlay import Words, draw_overlay
from wsikit.heatmap.scores import PatchScores
from wsikit.stages.progress import Progress, Silent
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import Size

CLUSTERS = 5
COMPONENTS = 32

SHARES = Words("tissue", "the patches that were kept", "this slide", "uncoloured: not kept")


def run_look(
    store_path: Path,
    encoder_id: str,
    out: Path,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Path]:
    """Draw a foreground map and a map of feature clusters of each slide.

    The clusters are found over all slides together, so a colour means the same on every picture.

    Args:
        store_path: a store with features.
        encoder_id: which features.
        out: receives `<slide_id>_foreground.png` and `<slide_id>_clusters.png`.
        seed: of the clustering.
        progress: told of each slide.

    Returns:
        The pictures.
    """
    progress = progress or Silent()
    store = Store(store_path)
    slides = [store.slide(i) for i in store.slide_ids()]
    slides = [s for s in slides if encoder_id in s.encoder_ids()]
    features = [s.features(encoder_id).astype(np.float32) for s in slides]
    clusters = _cluster(np.concatenate(features), seed)
    pictures: list[Path] = []
    progress.start("look", len(slides))
    start = 0
    for slide, rows in zip(slides, features, strict=True):
        pictures += _draw(slide, clusters[start : start + len(rows)], out)
        start += len(rows)
        progress.advance(slide.slide_id)
    progress.finish()
    return pictures


def _cluster(features: NDArray[np.float32], seed: int) -> NDArray[np.int64]:
    scaled = StandardScaler().fit_transform(features)
    components = min(COMPONENTS, *scaled.shape)
    reduced = PCA(components, random_state=seed).fit_transform(scaled)
    count = min(CLUSTERS, len(np.unique(reduced, axis=0)))
    labels = KMeans(count, n_init=10, random_state=seed).fit_predict(reduced)
    return np.asarray(labels, dtype=np.int64)


def _draw(slide: StoredSlide, clusters: NDArray[np.int64], out: Path) -> list[Path]:
    side = Size(*slide.grid.side_l0())
    index, thumbnail, scale = slide.patches, slide.thumbnail(), slide.thumbnail_scale
    foreground, groups = (out / f"{slide.slide_id}_{n}.png" for n in ("foreground", "clusters"))
    share = PatchScores(index.xy_l0, side, index.foreground, "share of tissue", "probability")
    draw_overlay(thumbnail, scale, share, slide.mpp_l0, slide.slide_id, foreground, words=SHARES)
    draw_clusters(
        thumbnail, scale, index.xy_l0, side, clusters, slide.mpp_l0, slide.slide_id, groups
    )
    return [foreground, groups]
