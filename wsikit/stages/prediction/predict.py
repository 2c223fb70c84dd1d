"""Predict: a run and a store in, slide predictions and patch scores out.

A slide that a fold held out is scored by that fold's model alone; a slide the run has never seen
by the mean over all folds. So no held-out slide is scored by a model that was trained on it; where
a slide was only ever trained on, its split says so. A slide that is unlike those its models were
trained on is flagged.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from wsikit.atomic import ensure_folder, write_bytes, write_json
from wsikit.errors import StoreError, WsikitError
from wsikit.stages.prediction.scorers import slide_scorer
from wsikit.stages.prediction.shift_watch import ShiftWatch, shift_columns
from wsikit.stages.prediction.standing import known_splits, mean_prediction, standing_of
from wsikit.stages.progress import Outcome, Progress, Silent
from wsikit.stages.run_folder import RunFacts, RunFolder, write_table
from wsikit.stages.slide_loop import chosen_slides
from wsikit.store.recipe import differences, in_short
from wsikit.store.store import Store
from wsikit.store.stored_slide import StoredSlide
from wsikit.training.bags.predict import BagPrediction
from wsikit.training.fits.device import resolve_device
from wsikit.types import FloatArray, ScoreKind

STAGE = "predict"


def run_predict(
    store_path: Path,
    run_path: Path,
    out: Path | None = None,
    *,
    device: str = "auto",
    slide_ids: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Score every slide of a store with a trained run.

    Args:
        store_path: a store with the run's features, and graphs where the method needs them; of a
            run that trained an encoder, the patches are enough.
        run_path: the run.
        out: receives `predictions.csv` and `patches/`; default the run's own folder.
        device: `auto`, `cpu` or `cuda`.
        slide_ids: only these; default all that are tiled.
        progress: told of each slide.

    Returns:
        What became of each slide.

    Raises:
        StoreError: the store was tiled by another recipe than the run's, or a part is missing.
    """
    progress = progress or Silent()
    store, run = Store(store_path), RunFolder(run_path)
    facts = run.facts()
    check_recipe(store, facts)
    score = slide_scorer(store, run, facts, resolve_device(device))
    splits = known_splits(run, progress.say)
    watch = ShiftWatch(run, facts, progress)
    folder = RunFolder(out or run_path)
    chosen = chosen_slides(store, slide_ids)
    ensure_folder(folder.patches)
    outcome, rows = Outcome(), []
    progress.start(STAGE, len(chosen))
    for slide_id in chosen:
        try:
            standing = standing_of(splits, store, slide_id, facts.folds)
            split = standing.row.get("split", "")
            judged = watch.look(store.slide(slide_id), standing.folds, split)
            scores = score(slide_id, standing.folds)
            mean = mean_prediction(scores)
            _write_patches(folder.patch_table(slide_id), store.slide(slide_id), mean, facts)
        except (WsikitError, OSError) as error:
            outcome.failed[slide_id] = str(error)
            progress.advance(f"{slide_id}: FAILED: {error}")
            continue
        row = prediction_row(slide_id, standing.row, mean.probabilities, facts.classes)
        rows.append(row | shift_columns(judged) | range_columns(scores))
        outcome.done.append(slide_id)
        flagged = f", FLAGGED: {', '.join(judged.flags)}" if judged and judged.flags else ""
        progress.advance(f"{slide_id}: {row['pred']}{flagged}")
    progress.finish()
    watch.sum_up()
    if rows:
        table = pd.DataFrame(rows)
        if folder.predictions_csv.exists():
            table = _replace_rows(folder.predictions(), table)
        write_table(folder.predictions_csv, table.sort_values("slide_id"))
    _note_failures(folder, chosen, outcome.failed)
    return outcome


def _note_failures(folder: RunFolder, chosen: Sequence[str], failed: Mapping[str, str]) -> None:
    """Keep why slides could not be predicted; those predicted now are taken out."""
    try:
        noted = folder.failures()
    except StoreError:  # damaged: begun anew
        noted = {}
    left = {name: why for name, why in noted.items() if name not in chosen} | dict(failed)
    if left or noted:
        write_json(folder.failures_json, dict(sorted(left.items())))


def _replace_rows(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Put the slides predicted now in the place of their earlier rows; other slides' rows stay."""
    return pd.concat([old[~old["slide_id"].isin(new["slide_id"])], new], ignore_index=True)


def prediction_row(
    slide_id: str, known: Mapping[str, str], probabilities: FloatArray, classes: Sequence[str]
) -> dict[str, Any]:
    """Return one line of predictions.csv; the predicted class is the most probable one."""
    names = ("patient_id", "label", "fold", "split")
    row: dict[str, Any] = {"slide_id": slide_id, **{n: known.get(n, "") for n in names}}
    row["pred"] = classes[int(np.argmax(probabilities))]
    row |= {f"prob_{c}": float(p) for c, p in zip(classes, probabilities, strict=True)}
    return row


def range_columns(scores: Sequence[BagPrediction]) -> dict[str, float]:
    """Return what predictions.csv says of how far a slide's models agree.

    Args:
        scores: one prediction a model.

    Returns:
        `lowest` and `highest`: over the models, of the probability of the class at stake (of two
        classes the positive one, else the predicted one); nothing where one model scored it. It is
        the range of these models and no confidence interval.
    """
    if len(scores) < 2:
        return {}
    probabilities = np.stack([score.probabilities for score in scores])  # (K, C)
    shown = shown_class(probabilities.mean(axis=0))
    own = probabilities[:, shown]
    return {"lowest": float(own.min()), "highest": float(own.max())}


def check_recipe(store: Store, facts: RunFacts) -> None:
    """Raise StoreError where a store's patches were made otherwise than the run's."""
    changed = differences(facts.tile_recipe, store.tile_recipe)
    decisive = [c for c in changed if not c.startswith(("codec", "thumbnail"))]
    if decisive:
        pictures = "ingest" in facts.tile_recipe
        raise StoreError(
            f"{store.path}: tiled otherwise than the run's slides ({in_short(decisive)})",
            "take them with wsikit ingest as the run's were"
            if pictures
            else "give the slides in place of the store, and they are tiled as the run's were",
        )


def _write_patches(
    path: Path, slide: StoredSlide, prediction: BagPrediction, facts: RunFacts
) -> None:
    """Write a slide's patch scores; a method that scores no patch leaves no table."""
    score = _score(prediction, facts)
    if score is None:
        path.unlink(missing_ok=True)
        return
    width, height = slide.grid.side_l0()
    columns = {
        "x": slide.patches.x,
        "y": slide.patches.y,
        "width": np.int32(width),
        "height": np.int32(height),
        "score": score.values,
    }
    if prediction.attention is not None:
        columns["attention"] = prediction.attention
    if prediction.patch_probabilities is not None:
        by_class = zip(facts.classes, prediction.patch_probabilities.T, strict=True)
        columns |= {f"prob_{name}": column for name, column in by_class}
    table = pd.DataFrame(columns)
    table.attrs = {
        "score": score.meaning, "kind": score.kind,
        "patches": slide.recipe_id, "run": facts.recipe_id,
    }  # fmt: skip
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_bytes(path, buffer.getvalue())


class _Score(NamedTuple):
    """The one number a patch is shown by."""

    values: FloatArray
    meaning: str
    kind: ScoreKind


def _score(prediction: BagPrediction, facts: RunFacts) -> _Score | None:
    """Choose what a patch is shown by: the class at stake, or attention where that is all."""
    patches = prediction.patch_probabilities
    if patches is not None:
        shown = shown_class(prediction.probabilities)
        return _Score(patches[:, shown], f"probability of {facts.classes[shown]}", "probability")
    if prediction.attention is not None:
        return _Score(prediction.attention, "attention", "attention")
    return None


def shown_class(probabilities: FloatArray) -> int:
    """Return the class that patches are shown by: of two the positive one, else the predicted.

    Args:
        probabilities: (C,) float32, the slide's.
    """
    return 1 if len(probabilities) == 2 else int(np.argmax(probabilities))
