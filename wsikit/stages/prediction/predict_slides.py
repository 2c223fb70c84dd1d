"""Predict new slides: slide files or a store in, every missing stage done on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsikit.config import TileConfig
from wsikit.errors import MppError, SlideError, WsikitError
from wsikit.execution.pool import open_pool
from wsikit.slides.open import open_slide
from wsikit.slides.slide import Slide
from wsikit.stages.cohort import SourceSlide
from wsikit.stages.prediction.missing_stages import Failed, make_missing
from wsikit.stages.prediction.predict import check_recipe, run_predict
from wsikit.stages.progress import Outcome, Progress, Silent
from wsikit.stages.run_folder import RunFolder
from wsikit.stages.slide_loop import chosen_slides
from wsikit.stages.tiling.preload import SHARD_TASKS
from wsikit.stages.tiling.slide import slide_grid
from wsikit.stages.tiling.tile import check_store, run_tile
from wsikit.stages.training.model_folder import Model
from wsikit.store.store import Store


@dataclass(frozen=True)
class Workers:
    """Where slides are tiled.

    Attributes:
        count: local processes.
        scheduler: address of a Dask scheduler instead.
        slurm: description of SLURM jobs instead.
    """

    count: int = 1
    scheduler: str | None = None
    slurm: Path | None = None


@dataclass(frozen=True)
class Regions:
    """Regions of the new slides, for a model that was trained within such.

    Attributes:
        keep: GeoJSON file, or folder of them, of what is tiled.
        exclude: of what is left out.
    """

    keep: str | None = None
    exclude: str | None = None


def is_store(path: Path) -> bool:
    """Tell whether a path is a store, and not slides."""
    return (path / "wsikit.json").exists()


def predict_slides(
    sources: Sequence[SourceSlide],
    run_path: Path,
    out: Path,
    store_path: Path,
    *,
    regions: Regions | None = None,
    workers: Workers | None = None,
    weights: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Tile, describe and score slides as a run's own were; what is done already is skipped.

    Args:
        sources: the slides.
        run_path: the run, wherever it was moved to; nothing else of its training is needed.
        out: receives `predictions.csv` and `patches/`.
        store_path: the store the slides are tiled into, made if it is not there.
        regions: where the run's slides were tiled within regions drawn by hand.
        workers: where to tile; default in this process.
        weights: the encoder's, where they are not in the run nor to be had by name.
        device: where to compute features and scores.
        progress: told of every stage.
        overwrite: tile and describe slides again that are there.

    Returns:
        What became of each slide: a slide that failed at any stage is named with its reason.

    Raises:
        StoreError: the run is no run, cannot tile, or the store was made by another recipe.
        WeightsError: features are to be made, and the encoder's weights are not at hand.
        UsageError: regions are given or missing, other than in training.
    """
    progress, regions = progress or Silent(), regions or Regions()
    model = Model(RunFolder(run_path))
    config = model.tile(regions.keep, regions.exclude)
    check_store(sources, store_path, config, overwrite)
    store = Store(store_path)
    if model.needs_features and not _all_described(store, model, sources):
        model.encoder(weights)  # hours of tiling would be lost if its weights were then not there
    tiled = _tile(sources, store_path, config, workers or Workers(), progress, overwrite)
    failed = _with_reasons(sources, tiled.failed, config)
    names = [source.slide_id for source in sources if source.slide_id not in failed]
    return _score(store, model, names, out, failed, weights, device, progress)


def predict_store(
    store_path: Path,
    run_path: Path,
    out: Path | None = None,
    *,
    weights: str | None = None,
    device: str = "auto",
    slide_ids: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Score a store's slides; features and graphs that are missing are made first.

    Args:
        store_path: the store, tiled as the run's own.
        run_path: the run.
        out: receives `predictions.csv` and `patches/`; default the run's own folder.
        weights: the encoder's, where they are not in the run nor to be had by name.
        device: where to compute.
        slide_ids: only these; default all that are tiled.
        progress: told of every stage.

    Returns:
        What became of each slide.

    Raises:
        StoreError: the store was tiled by another recipe than the run's.
        WeightsError: features are missing, and the encoder's weights are not at hand.
    """
    model, store = Model(RunFolder(run_path)), Store(store_path)
    check_recipe(store, model.facts)
    names = chosen_slides(store, slide_ids)
    return _score(store, model, names, out, {}, weights, device, progress or Silent())


def _all_described(store: Store, model: Model, sources: Sequence[SourceSlide]) -> bool:
    """Tell whether every slide has the model's features from an earlier call."""
    tiled = set(store.slide_ids())
    try:
        return all(
            source.slide_id in tiled
            and model.facts.encoder_id in store.slide(source.slide_id).encoder_ids()
            for source in sources
        )
    except WsikitError:
        return False


def _tile(
    sources: Sequence[SourceSlide],
    store: Path,
    config: TileConfig,
    workers: Workers,
    progress: Progress,
    overwrite: bool,
) -> Outcome:
    with open_pool(
        workers.count, workers.scheduler, slurm=workers.slurm,
        say=progress.say, preload=[SHARD_TASKS],
    ) as pool:  # fmt: skip
        return run_tile(sources, store, config, pool=pool, progress=progress, overwrite=overwrite)


def _with_reasons(
    sources: Sequence[SourceSlide], failed: Mapping[str, str], config: TileConfig
) -> Failed:
    """Say of a slide that is too coarse that this model cannot take it.

    Tiling says how to tile it otherwise, which would not help here.
    """
    return {
        source.slide_id: _refusal(source, config) or failed[source.slide_id]
        for source in sources
        if source.slide_id in failed
    }


def _refusal(source: SourceSlide, config: TileConfig) -> str | None:
    try:
        with open_slide(source.path, source.mpp) as slide:
            return _too_coarse(slide, config)
    except (WsikitError, OSError):  # tiling has said what is wrong with it
        return None


def _too_coarse(slide: Slide, config: TileConfig) -> str | None:
    try:
        slide_grid(slide, config)
    except MppError:
        raise
    except SlideError as error:
        return f"{error.what}: the model was trained so and takes no other, use a finer scan"
    return None


def _score(
    store: Store,
    model: Model,
    slide_ids: Sequence[str],
    out: Path | None,
    failed: Failed,
    weights: str | None,
    device: str,
    progress: Progress,
) -> Outcome:
    """Make what is missing, and score what could be made."""
    tiled = set(store.slide_ids())
    present = [slide_id for slide_id in slide_ids if slide_id in tiled]
    failed = failed | make_missing(store, model, present, progress, weights=weights, device=device)
    ready = [slide_id for slide_id in present if slide_id not in failed]
    outcome = Outcome()
    if ready:
        outcome = run_predict(
            store.path, model.run.path, out, device=device, slide_ids=ready, progress=progress
        )
    outcome.failed = failed | outcome.failed
    return outcome
