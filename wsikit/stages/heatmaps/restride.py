"""Score a slide at a finer stride than its patches: a smooth heatmap from overlapping reads.

The patches of the store are read again at places between the stored ones, described by the run's
own encoder and scored by its own models. A cell as large as the stride then has the mean score of
all patches that cover it. What the patches at their own places score is taken from the run.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wsikit.atomic import write_bytes
from wsikit.config import HeatmapConfig
from wsikit.errors import StoreError
from wsikit.geometry import PatchGrid
from wsikit.heatmap.cells import cell_means
from wsikit.heatmap.scores import PatchScores
from wsikit.stages.cohort import SourceSlide
from wsikit.stages.heatmaps.made import file_digest
from wsikit.stages.heatmaps.stride import Scorer, checked_stride, stride_detail
from wsikit.stages.heatmaps.window_scorers import ScoreShift, shift_scorer
from wsikit.stages.heatmaps.windows import Shift, Windows, open_windows
from wsikit.stages.prediction.predict import check_recipe
from wsikit.stages.prediction.standing import known_splits, standing_of
from wsikit.stages.run_folder import RunFolder
from wsikit.stages.training.model_folder import Model
from wsikit.store.recipe import recipe_id
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.training.bags.predict import BagPrediction
from wsikit.types import FloatArray, Size

ALGORITHM = 1

SAY_EVERY = 30.0
"""Seconds between two lines on how far it is."""


class Restride:
    """Score slides at a finer stride, and keep what was computed beside the run's patch scores.

    Args:
        store: holds the slides.
        run: holds the patch scores.
        config: `heatmap.stride` and `heatmap.score`.
        scorer: what patches are scored with.
        say: told what is computed, and now and then how far it is.

    Raises:
        StoreError: there is no model, or the store was tiled otherwise than its slides.
        ConfigError: the patch's side is no multiple of the stride.
    """

    def __init__(
        self,
        store: Store,
        run: RunFolder,
        config: HeatmapConfig,
        scorer: Scorer,
        say: Callable[[str], None],
    ) -> None:
        self._store, self._run, self._config = store, run, config
        self._scorer, self._say = scorer, say
        folder = RunFolder(scorer.model) if scorer.model is not None else run
        if not folder.begun:
            raise StoreError(
                f"{folder.path}: holds scores and no trained run, so no stride can be scored",
                "name the run that predicted them with --model RUN",
            )
        self._model = Model(folder)
        check_recipe(store, self._model.facts)
        if config.stride is not None and "size" in store.tile_recipe:
            checked_stride(config.stride, int(store.tile_recipe["size"]))

    @cached_property
    def _score(self) -> ScoreShift:
        return shift_scorer(self._model, self._scorer.weights, self._scorer.device)

    @cached_property
    def _splits(self) -> pd.DataFrame:
        return known_splits(self._model.run, self._say)

    def scores(
        self, stored: StoredSlide, base: PatchScores, source: SourceSlide | None
    ) -> PatchScores:
        """Return a slide's scores, one a cell of the stride.

        Args:
            stored: the slide.
            base: its patch scores, one a stored patch in their order.
            source: its own file, where it is at hand: reads then also reach beyond the stored
                patches.

        Raises:
            ConfigError: the patch's side is no multiple of the stride.
            StoreError: there are no pixels, or a patch is damaged.
            WeightsError: the encoder's weights are not at hand.
        """
        side = stored.grid.patch_px
        if stored.grid.patch_size.height != side:
            raise StoreError(
                f"slide '{stored.slide_id}': its patches are pictures that are not square, and no "
                "stride can be laid over them",
                "leave --stride out",
            )
        stride = checked_stride(self._config.stride or side, side)
        if stride == side or not len(base.values):
            return base
        file = source.path if source is not None and source.path.exists() else None
        path = self._run.path / "strides" / str(stride) / f"{stored.slide_id}.parquet"
        recipe = self._recipe(stored, stride, file is not None)
        values, cells = self._kept(path, recipe) or self._computed(stored, base, stride, file)
        _keep(path, recipe, cells, values)
        return _as_scores(stored, base, stride, cells, values)

    def _recipe(self, stored: StoredSlide, stride: int, with_file: bool) -> str:
        return recipe_id(
            {
                "algorithm": ALGORITHM,
                "run": self._model.facts.recipe_id,
                "patches": stored.recipe_id,
                "table": file_digest(self._run.patch_table(stored.slide_id)),
                "score": self._config.score,
                "stride": stride,
                "file": with_file,
            }
        )

    def _kept(self, path: Path, recipe: str) -> tuple[FloatArray, NDArray[np.int64]] | None:
        """Read what an earlier call computed, if it is what would be computed."""
        try:
            table = pd.read_parquet(path)
            if table.attrs.get("recipe") != recipe:
                return None
            cells = table[["row", "col"]].to_numpy(np.int64)
            return table["score"].to_numpy(np.float32), cells
        except (OSError, ValueError, KeyError):
            return None

    def _computed(
        self, stored: StoredSlide, base: PatchScores, stride: int, file: Path | None
    ) -> tuple[FloatArray, NDArray[np.int64]]:
        steps = stored.grid.patch_px // stride
        folds = standing_of(
            self._splits, self._store, stored.slide_id, self._model.facts.folds
        ).folds
        reads, values = [stored.patches.rowcol * steps], [base.values]
        with open_windows(stored, file) as windows:
            shifts = [shift for shift in windows.shifts(stride) if len(shift.rowcol)]
            counted = _Counted(stored.slide_id, sum(len(s.rowcol) for s in shifts), self._say)
            for shift in shifts:
                prediction = self._score_shift(stored, windows, shift, folds, counted)
                reads.append(shift.rowcol * steps + np.array([shift.y_px, shift.x_px]) // stride)
                values.append(self._shown(prediction, base))
        cells, means = cell_means(np.concatenate(reads), np.concatenate(values), (steps, steps))
        own = _own_cells(stored, stride, cells)
        return means[own], cells[own]

    def _score_shift(
        self,
        stored: StoredSlide,
        windows: Windows,
        shift: Shift,
        folds: Sequence[int],
        counted: Callable[[int], None],
    ) -> BagPrediction:
        encoder_id = self._model.facts.encoder_id
        stored_type = (
            str(stored.feature_dtype(encoder_id)) if self._model.needs_features else "float32"
        )
        return self._score(stored.slide_id, windows, shift, folds, stored_type, counted)

    def _shown(self, prediction: BagPrediction, base: PatchScores) -> FloatArray:
        """Return what a moved grid's patches are shown by: the same as the stored ones."""
        if base.kind == "attention":
            if prediction.attention is None:
                raise StoreError("the run's method gives no attention", "set heatmap.score=score")
            # It sums to one over a bag: as much as the average patch means the same in each.
            share = np.float32(len(prediction.attention) / len(base.values))
            return np.asarray(prediction.attention * share, np.float32)
        if prediction.patch_probabilities is None:
            raise StoreError("the run's method scores no patch", "leave --stride out")
        name = base.meaning.removeprefix("probability of ")
        return prediction.patch_probabilities[:, self._model.facts.classes.index(name)]


class _Counted:
    """Say how far the patches of a slide are, now and then."""

    def __init__(self, slide_id: str, total: int, say: Callable[[str], None]) -> None:
        self._slide_id, self._total, self._say = slide_id, total, say
        self._done, self._said = 0, time.monotonic()
        say(f"{slide_id}: {total} patches between the stored ones to read and score")

    def __call__(self, patches: int) -> None:
        self._done += patches
        if time.monotonic() - self._said >= SAY_EVERY:
            self._said = time.monotonic()
            self._say(f"{self._slide_id}: {self._done} of {self._total} patches scored")


def _own_cells(stored: StoredSlide, stride: int, cells: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the cells inside stored patches and on the slide: what was dropped stays bare."""
    steps = stored.grid.patch_px // stride
    kept = set(map(tuple, stored.patches.rowcol.tolist()))
    width, height = stored.grid.image_px
    return np.array(
        [
            (row // steps, col // steps) in kept and row * stride < height and col * stride < width
            for row, col in cells.tolist()
        ],
        np.bool_,
    )


def _as_scores(
    stored: StoredSlide,
    base: PatchScores,
    stride: int,
    cells: NDArray[np.int64],
    values: FloatArray,
) -> PatchScores:
    """Place cells in the level-0 frame."""
    fine = PatchGrid(stored.grid.slide_px, stored.grid.scale, stride)
    corners = [fine.origin_l0(row, col) for row, col in cells.tolist()]
    return replace(
        base,
        xy_l0=np.array(corners, np.int32).reshape(-1, 2),
        side_l0=Size(*fine.side_l0()),
        values=values,
        detail=stride_detail(stride, stored.grid.patch_px),
        unit="square",
    )


def _keep(path: Path, recipe: str, cells: NDArray[np.int64], values: FloatArray) -> None:
    """Keep what was computed; the same content leaves the file untouched."""
    table = pd.DataFrame({"row": cells[:, 0], "col": cells[:, 1], "score": values})
    table.attrs = {"recipe": recipe}
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_bytes(path, buffer.getvalue())
