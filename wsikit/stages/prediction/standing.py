"""What a run knows of a slide, and which of its models may therefore score it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from wsikit.stages.labelled import source_fingerprint
from wsikit.stages.run_folder import RunFolder
from wsikit.store.store import Store
from wsikit.training.bags.predict import BagPrediction
from wsikit.types import FloatArray


@dataclass(frozen=True)
class Standing:
    """What a run knows of a slide.

    Attributes:
        folds: the folds whose models may score it.
        row: patient_id, label, fold and split, as far as they are known.
    """

    folds: Sequence[int]
    row: Mapping[str, str]


def known_splits(run: RunFolder, say: Callable[[str], None]) -> pd.DataFrame:
    """Read the run's split; a model may be handed on without it, as it names slides and patients.

    Then every slide counts as one the run has never seen.

    Args:
        run: the run.
        say: told where there is none.
    """
    if run.splits_csv.exists():
        return run.splits()
    say(f"{run.path}: has no split.csv, so every slide counts as new to it")
    return pd.DataFrame(columns=["slide_id", "split", "fingerprint"], dtype=str)


def standing_of(splits: pd.DataFrame, store: Store, slide_id: str, folds: int) -> Standing:
    """Find a slide in the run's split: by its id, and by being the same file.

    Args:
        splits: from `known_splits`.
        store: holds the slide.
        slide_id: the slide.
        folds: how many the run has.
    """
    mine = splits[splits["slide_id"] == slide_id]
    if mine.empty or mine["fingerprint"].iloc[0] != source_fingerprint(store, slide_id):
        return Standing(range(folds), {})
    held_out = mine[mine["split"] == "test"]
    best = (held_out if len(held_out) else mine).iloc[0]
    row = {name: str(best[name]) for name in ("patient_id", "label", "fold", "split")}
    return Standing([int(best["fold"])], row)


def mean_prediction(scores: Sequence[BagPrediction]) -> BagPrediction:
    """Return the mean over the models that scored a slide."""
    if len(scores) == 1:
        return scores[0]
    return BagPrediction(
        scores[0].slide_id,
        np.mean([s.probabilities for s in scores], axis=0, dtype=np.float32),
        _mean_where_given([s.patch_probabilities for s in scores]),
        _mean_where_given([s.attention for s in scores]),
    )


def _mean_where_given(parts: Sequence[FloatArray | None]) -> FloatArray | None:
    given = [part for part in parts if part is not None]
    return np.mean(given, axis=0, dtype=np.float32) if given else None
