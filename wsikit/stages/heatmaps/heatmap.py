"""Heatmap: patch scores in, files a pathologist opens out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from wsikit.atomic import ensure_folder
from wsikit.config import HeatmapConfig
from wsikit.errors import StoreError, UsageError, WsikitError
from wsikit.heatmap.sheet import TruthOutline
from wsikit.stages.evaluation.truth import read_mask
from wsikit.stages.heatmaps.formats import FORMATS
from wsikit.stages.heatmaps.slide_heatmap import SlideHeatmap
from wsikit.stages.prediction.patch_table import patch_scores, read_patches
from wsikit.stages.progress import Outcome, Progress, Silent
from wsikit.stages.run_folder import RunFolder
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide

STAGE = "heatmap"


def run_heatmap(
    store_path: Path,
    run_path: Path,
    out: Path | None,
    config: HeatmapConfig,
    *,
    slide_ids: Sequence[str] | None = None,
    truth: Path | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Draw the heatmap of every slide that was predicted.

    Args:
        store_path: the store that holds the slides.
        run_path: the run, or the folder `wsikit predict -o` wrote to.
        out: receives `<slide_id>.png` and `<slide_id>.geojson`; default the run's `heatmaps/`.
        config: which score, which formats.
        slide_ids: only these; default all that were predicted.
        truth: folder of `<slide_id>_mask.png` to outline.
        progress: told of each slide.

    Returns:
        What became of each slide.

    Raises:
        StoreError: nothing was predicted yet.
    """
    progress = progress or Silent()
    store, run = Store(store_path), RunFolder(run_path)
    folder = out or run.heatmaps
    chosen = list(slide_ids or sorted(p.stem for p in run.patches.glob("*.parquet")))
    if not chosen:
        raise StoreError(f"{run_path}: no patch scores yet", "run wsikit predict first")
    unknown = [slide_id for slide_id in chosen if not run.patch_table(slide_id).exists()]
    if unknown:
        raise StoreError(
            f"{run_path}: slide '{unknown[0]}' has no patch scores", "run wsikit predict first"
        )
    if truth is not None and not truth.is_dir():
        raise UsageError(f"--truth {truth}: there is no such folder", "check the path")
    ensure_folder(folder)
    outcome = Outcome()
    progress.start(STAGE, len(chosen))
    for slide_id in chosen:
        try:
            _draw_slide(store, run, slide_id, folder, config, truth)
        except (WsikitError, OSError) as error:
            outcome.failed[slide_id] = str(error)
            progress.advance(f"{slide_id}: FAILED: {error}")
        else:
            outcome.done.append(slide_id)
            progress.advance(slide_id)
    progress.finish()
    return outcome


def _draw_slide(
    store: Store,
    run: RunFolder,
    slide_id: str,
    folder: Path,
    config: HeatmapConfig,
    truth: Path | None,
) -> None:
    stored = store.slide(slide_id)
    slide = SlideHeatmap(
        stored,
        patch_scores(read_patches(run.patch_table(slide_id)), config.score),
        config,
        _outline(stored, truth) if truth is not None else None,
        lambda: _no_pixels(slide_id),
    )
    for name in config.formats:
        FORMATS[name](slide, folder)


def _outline(stored: StoredSlide, truth: Path) -> TruthOutline:
    mask, downsample = read_mask(truth, stored.slide_id, stored.grid.slide_px)
    return TruthOutline(mask, downsample, "known tumour")


def _no_pixels(slide_id: str) -> NoReturn:
    raise StoreError(f"slide '{slide_id}': its pixels are not read yet", "leave this format away")
