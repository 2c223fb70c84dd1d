"""MUSK1, the classical benchmark of multiple instance learning: 92 molecules, 476 shapes.

A bag is a molecule, a patch one of its shapes, a feature vector 166 distances.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from wsikit.graphs.build import build_graph
from wsikit.heads.bag import Bag
from wsikit.heads.registry import build_head
from wsikit.training.bags.bags import BagDataset
from wsikit.training.bags.predict import predict_bags
from wsikit.training.fits.fit import FitOptions, fit_head
from wsikit.training.splits.splits import make_splits

NEIGHBOURS = 3
FIT = {"epochs": 40, "lr": 5e-4, "weight_decay": 5e-3, "accumulate": 1, "patience": 10}
"""Step size and decay are those of Ilse et al. 2018 for this set."""


class Musk(NamedTuple):
    """All bags, and the class of each by its id."""

    bags: dict[str, Bag]
    labels: dict[str, int]


def read_musk(path: Path) -> Musk:
    """Read the CSV: no header; bag label, bag id, then the features."""
    table = pd.read_csv(path, header=None)
    bags, labels = {}, {}
    for name, rows in table.groupby(1, sort=True):
        features = rows.iloc[:, 2:].to_numpy(np.float32)
        order = np.arange(len(features), dtype=np.int64)
        rowcol = np.stack([order, np.zeros_like(order)], axis=1)
        graph = build_graph("knn", features, rowcol, NEIGHBOURS)
        bags[str(name)] = Bag(
            torch.from_numpy(features),
            torch.from_numpy(rowcol),
            torch.from_numpy(graph.edge_index),
        )
        labels[str(name)] = int(rows.iloc[0, 0] > 0)
    return Musk(bags, labels)


def cross_validate(musk: Musk, head: str, folds: int, seed: int, out: Path) -> float:
    """Return the accuracy over all bags, each predicted by the fold that held it out.

    The best epoch is chosen on a validation part of the training bags.
    """
    table = pd.DataFrame({"slide_id": list(musk.bags), "patient_id": list(musk.bags)})
    table["label"] = [str(musk.labels[name]) for name in table["slide_id"]]
    splits = make_splits(table, folds, seed, val_share=0.15)
    right = 0
    for fold, rows in splits.groupby("fold"):
        sides = {
            side: list(rows.loc[rows["split"] == side, "slide_id"])
            for side in ("train", "val", "test")
        }
        torch.manual_seed(seed * 1009 + int(fold))
        network = build_head(head, len(next(iter(musk.bags.values())).features[0]), 2)
        data = [
            BagDataset(sides[side], [musk.labels[name] for name in sides[side]], musk.bags.get)
            for side in ("train", "val")
        ]
        options = FitOptions(**FIT, seed=seed, device="cpu")
        fit_head(network, *data, options, out / f"{head}-{seed}-{fold}")
        for prediction in predict_bags(network, musk.bags.get, sides["test"], "cpu"):
            right += int(prediction.probabilities.argmax() == musk.labels[prediction.slide_id])
    return right / len(musk.bags)
