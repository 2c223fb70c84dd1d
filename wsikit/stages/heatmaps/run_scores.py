"""What a run says of one slide: its patch scores, checked against the store, and its prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from wsikit.config import HeatmapConfig
from wsikit.errors import StoreError, UsageError, WsikitError
from wsikit.heatmap.scores import PatchScores
from wsikit.stages.prediction.patch_table import check_patches, patch_scores, read_patches
from wsikit.stages.run_folder import RunFolder
from wsikit.store.stored_slide import StoredSlide
from wsikit.types import Size

NO_TISSUE = "no tissue was found, so no patch is scored"


def run_names(runs: Sequence[Path]) -> list[str]:
    """Name runs by their folders, with as many parents as it takes to tell them apart.

    Args:
        runs: the runs' folders.

    Raises:
        UsageError: one is named twice.
    """
    parts = [run.absolute().parts for run in runs]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-depth:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    raise UsageError("a run is named twice", "name every run once")


def slide_scores(run: RunFolder, stored: StoredSlide, config: HeatmapConfig) -> PatchScores:
    """Read a slide's patch scores.

    Args:
        run: the run, or the folder `wsikit predict -o` wrote to.
        stored: the slide. One without patches has no scores, and they say so.
        config: which score, and how it is shown.

    Raises:
        StoreError: there is no table, it is damaged, or not one of the patches stored now.
        WsikitError: a score is not finite.
    """
    if not stored.patch_count:
        return _nothing(run, stored, config)
    path = run.patch_table(stored.slide_id)
    table = read_patches(path, stored.patch_count)
    check_patches(table, stored)
    try:
        scores = patch_scores(table, config.score, Size(*stored.grid.side_l0()), config.scale)
        return replace(scores, unit="picture") if stored.is_collection else scores
    except StoreError:
        raise
    except WsikitError as error:
        raise WsikitError(f"{path.name}: {error.what}", error.fix) from error


def _nothing(run: RunFolder, stored: StoredSlide, config: HeatmapConfig) -> PatchScores:
    return PatchScores(
        xy_l0=np.empty((0, 2), np.int32),
        side_l0=Size(*stored.grid.side_l0()),
        values=np.empty(0, np.float32),
        meaning="attention" if config.score == "attention" else _meaning(run),
        kind="attention" if config.score == "attention" else "probability",
        scale=config.scale,
        detail=NO_TISSUE,
    )


def _meaning(run: RunFolder) -> str:
    """Say what a run's scores mean, where no table says it."""
    try:
        classes = run.facts().classes
    except StoreError:  # what predict -o wrote holds no such facts
        return "probability"
    return f"probability of {classes[-1]}" if len(classes) == 2 else "probability"


def predictions(run: RunFolder) -> dict[str, dict[str, str]]:
    """Read predictions.csv: slide id -> column -> text; nothing where there is none.

    Raises:
        StoreError: it is damaged.
    """
    if not run.predictions_csv.exists():
        return {}
    rows = run.predictions().astype(str).to_dict(orient="records")
    return {row["slide_id"]: {str(k): v for k, v in row.items()} for row in rows}
