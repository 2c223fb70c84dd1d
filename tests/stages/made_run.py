"""A finished run written by hand: split, predictions and patch scores that a test decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wsikit.config import load_config
from wsikit.stages.run_folder import RunFacts, RunFolder, write_table

BOOTSTRAP = "train.bootstrap=200"


def make_run(
    path: Path,
    slides: pd.DataFrame,
    classes: Sequence[str] = ("normal", "tumour"),
    *,
    method: str = "abmil",
    folds: int = 1,
) -> RunFolder:
    """Write a run.

    Args:
        path: its folder.
        slides: slide_id, patient_id, label, split, fold, and prob_<class> of each class; where
            `fingerprint` is absent, the file is told by the slide's name.
        classes: the labels, the positive one last.
        method: its name.
        folds: how many.
    """
    run = RunFolder(path)
    facts = RunFacts(
        recipe_id="0" * 8, method=method, classes=tuple(classes), encoder_id="resnet18-x-00000000",
        graph_id=None, in_features=4, folds=folds, seed=0, tile_recipe={"size": 32, "mpp": 1.0},
        versions={"wsikit": "0"}, dropped={},
    )  # fmt: skip
    prints = slides.get("fingerprint", slides["slide_id"])
    known = slides[["fold", "slide_id", "split", "patient_id", "label"]]
    run.begin(load_config(None, [BOOTSTRAP]), facts, known.assign(fingerprint=prints))
    columns = [f"prob_{c}" for c in classes]
    pred = np.array(list(classes))[slides[columns].to_numpy().argmax(axis=1)]
    ids = ["slide_id", "patient_id", "label", "fold", "split"]
    write_table(run.predictions_csv, slides[ids].assign(pred=pred, **slides[columns]))
    return run


def two_classes(
    seed: int = 0, patients: int = 24, slides: int = 1, signal: float = 1.5, noise: float = 1.0
) -> pd.DataFrame:
    """Return held-out slides of two classes, alternating by patient."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), slides)
    positive = owner % 2 == 1
    x = signal * (positive - 0.5) + noise * rng.normal(size=len(owner))
    p = 1 / (1 + np.exp(-x))
    return pd.DataFrame(
        {
            "slide_id": [f"s{n:03}" for n in range(len(owner))],
            "patient_id": [f"p{n:03}" for n in owner],
            "label": np.where(positive, "tumour", "normal"),
            "split": "test",
            "fold": 0,
            "prob_normal": 1 - p,
            "prob_tumour": p,
        }
    )


def write_patches(
    run: RunFolder,
    slide_id: str,
    xy: Sequence[tuple[int, int]],
    side: tuple[int, int],
    columns: Mapping[str, Any],
    attrs: Mapping[str, str],
) -> None:
    """Write a slide's patch scores as `wsikit predict` does."""
    x, y = np.array(xy, np.int32).reshape(-1, 2).T
    table = pd.DataFrame({"x": x, "y": y, "width": side[0], "height": side[1], **columns})
    table.attrs = dict(attrs)
    run.patches.mkdir(exist_ok=True)
    table.to_parquet(run.patch_table(slide_id), index=False)
