"""Try settings of self-distillation: the tables of `docs/self-distillation.md`.

    python pipelines/self_distillation_sweep.py OUT [--share 0.2] [--seeds 2] [--epochs 20]
        [--kinds pixels,features] [--only share,epsilon]

One setting is changed at a time. `pixels`: pictures of coarse noise, of which a share is fine in
positive slides; two convolutions are trained from random weights. `features`: made-up ones, of
which that share is shifted. Measured for the best epoch: validation slides (by which defaults are
chosen), and against the truth patches of held-out positive slides. Each result is kept in `OUT`;
stopped and started again, it goes on. Ten minutes on one idle core.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import nn

from wsikit.atomic import write_bytes, write_json
from wsikit.encoders.network import Encoder
from wsikit.encoders.spec import EncoderSpec
from wsikit.heads.bag import Bag
from wsikit.heads.instance_pool import InstancePool
from wsikit.methods import SELF_DISTILLATION, SELF_DISTILLATION_FEATURES
from wsikit.training.bags.bags import BagDataset
from wsikit.training.bags.predict import predict_bag
from wsikit.training.fits.fit import FitOptions
from wsikit.training.patches.data import PatchSide
from wsikit.training.patches.fit import PatchFitOptions
from wsikit.training.patches.network import PatchNetwork
from wsikit.training.patches.plan import PatchSlide
from wsikit.training.patches.predict import predict_patches
from wsikit.training.splits.splits import make_splits
from wsikit.types import UInt8Image

TRIALS: dict[str, list[dict[str, Any]]] = {
    "default": [{}],
    "chosen": [{"share": 0.3}, {"share": 0.3, "epsilon": 1.0}],
    "bank": [{"bank": False}],
    "warm_up": [{"warm_up": n} for n in (2, 5)],
    "centred": [{"per_slide": 6}, {"per_slide": 6, "centred": False}, {"centred": False}],
    "share": [{"share": k} for k in (0.05, 0.1, 0.4, 0.6)],
    "epsilon": [{"epsilon": e} for e in (0.05, 0.2, 1.0, 2.0)],
    "momentum": [{"momentum": m} for m in (0.0, 0.9, 0.999)],
    "iterations": [{"iterations": n} for n in (1, 3)],
    "lr": [{"lr": r} for r in (1e-3, 2e-2)],
    "views": [
        {"jitter": 0.0, "grey": 0.0, "flip": 0.0, "crop": 1.0}, {"strength": 0.4},
        {"noise": 0.0}, {"noise": 0.5}, {"dropout": 0.0}, {"dropout": 0.25}, {"hidden": 32},
    ],
}  # fmt: skip
POOLS: tuple[dict[str, Any], ...] = (
    {"pool": "mean"},
    {"pool": "max"},
    {"pool": "top", "top": 0.05},
    {},
    {"top": 0.25},
)
SHOWN = ("val_loss", "last_val_loss", "patch_auc", "recall", "specificity", "seconds")
LR = {"pixels": 1e-2, "features": 5e-3}
BATCH = 16
BASE = {"share": 0.2, "warm_up": 0}
"""What the trials begin from beside the defaults: the true share, not the one that came out; and no
warm-up, which is younger than the tables."""

SLIDES = 40
PX = 16
WIDTH, SHIFTED, SHIFT = 32, 4, 1.5

Score = Callable[[str], NDArray[np.float32]]
"""Give the (N, 2) probabilities of a slide's patches."""


@dataclass(frozen=True)
class Trial:
    """One fit: of which kind, with which seed, with what changed."""

    kind: str
    seed: int
    changes: dict[str, Any]
    epochs: int

    @property
    def method(self) -> Any:
        """The method that is tried."""
        return {"pixels": SELF_DISTILLATION, "features": SELF_DISTILLATION_FEATURES}[self.kind]

    @property
    def options(self) -> dict[str, Any]:
        """The method's own options."""
        own = {k: v for k, v in (BASE | self.changes).items() if k in self.method.options()}
        return own if self.kind == "pixels" else {**own, "batch_size": BATCH}

    @property
    def settings(self) -> FitOptions:
        """What decides any fit."""
        return FitOptions(
            epochs=self.epochs, lr=self.changes.get("lr", LR[self.kind]), weight_decay=0.0,
            patience=self.epochs, seed=self.seed, device="cpu", accumulate=1,
        )  # fmt: skip

    @property
    def name(self) -> str:
        """A file name of its own."""
        words = [f"{name}={value}" for name, value in self.changes.items()] or ["default"]
        return "-".join([self.kind, *words, f"{self.epochs}", f"{self.seed}"])


class Pictures:
    """Train from pixels: pictures of noise, finer where the patch is positive."""

    def __init__(self, share: float) -> None:
        self.truth, rows = {}, []
        for number in range(SLIDES):
            rng = np.random.default_rng(number)
            count, slide_id = int(rng.integers(20, 30)), f"s{number}"
            self.truth[slide_id] = _marked(rng, count, number, share)
            rows.append(_row(slide_id, number))
        self.table = pd.DataFrame(rows)
        self.read = cache(self._drawn)

    def _drawn(self, slide_id: str, index: int) -> UInt8Image:
        """Draw a patch; brightness is the slide's and tells nothing."""
        number = int(slide_id[1:])
        grain = 1 if self.truth[slide_id][index] else 4
        rng = np.random.default_rng([number, index])
        noise = rng.integers(0, 180, (PX // grain, PX // grain, 3), dtype=np.uint8)
        return np.kron(noise, np.ones((grain, grain, 1), np.uint8)) + np.uint8(
            5 * (number * 7 % 11)
        )

    def fit(self, trial: Trial, sides: dict[str, pd.DataFrame], folder: Path) -> tuple[Score, Any]:
        """Return what scores slides, and how the fit went."""
        torch.manual_seed(trial.seed)
        encoder = Encoder(EncoderSpec("small", "", "", 16, input_px=PX), _network(), "random")
        network = PatchNetwork(encoder, trial.method.build(encoder.features, 2, trial.options))
        train, val = (
            PatchSide(
                tuple(
                    PatchSlide(slide_id, label, len(self.truth[slide_id]))
                    for slide_id, label in _labels(sides[name]).items()
                ),
                self.read,
            )
            for name in ("train", "val")
        )
        per_slide = {"batch_size": BATCH, "per_slide": trial.changes.get("per_slide")}
        settings = PatchFitOptions(**vars(trial.settings) | per_slide)
        result = trial.method.fit(
            network, train, val, settings, trial.options, folder, folder / "encoder.safetensors"
        )

        def score(slide_id: str) -> NDArray[np.float32]:
            predicted = predict_patches(
                network, self.read, slide_id, len(self.truth[slide_id]), torch.device("cpu"), 64,
                InstancePool(),
            )  # fmt: skip
            assert predicted.patch_probabilities is not None
            return predicted.patch_probabilities

        return score, result


class MadeUp:
    """Train on made-up features: a share of positive slides' patches is shifted."""

    def __init__(self, share: float) -> None:
        self.bags, self.truth, rows = {}, {}, []
        for number in range(SLIDES):
            rng = np.random.default_rng(number)
            count, slide_id = int(rng.integers(40, 80)), f"s{number}"
            marked = _marked(rng, count, number, share)
            features = rng.normal(size=(count, WIDTH)).astype(np.float32)
            features[marked, :SHIFTED] += SHIFT
            self.bags[slide_id] = Bag(torch.from_numpy(features), torch.zeros(count, 2).long())
            self.truth[slide_id] = marked
            rows.append(_row(slide_id, number))
        self.table = pd.DataFrame(rows)

    def fit(self, trial: Trial, sides: dict[str, pd.DataFrame], folder: Path) -> tuple[Score, Any]:
        """Return what scores slides, and how the fit went."""
        labels = {name: _labels(sides[name]) for name in ("train", "val")}
        train, val = (
            BagDataset(list(labels[name]), list(labels[name].values()), self.bags.__getitem__)
            for name in ("train", "val")
        )
        torch.manual_seed(trial.seed)
        head = trial.method.build(WIDTH, 2, trial.options)
        result = trial.method.fit(head, train, val, trial.settings, trial.options, folder)

        def score(slide_id: str) -> NDArray[np.float32]:
            predicted = predict_bag(head, slide_id, self.bags[slide_id], "cpu")
            assert predicted.patch_probabilities is not None
            return predicted.patch_probabilities

        return score, result


def _marked(rng: np.random.Generator, count: int, number: int, share: float) -> NDArray[np.bool_]:
    """Choose the positive patches of a slide; slides of even numbers have none."""
    return rng.permutation(count) < (number % 2) * share * count


def _row(slide_id: str, number: int) -> dict[str, str]:
    return {
        "slide_id": slide_id,
        "patient_id": slide_id,
        "label": ("negative", "positive")[number % 2],
    }


def _network() -> nn.Module:
    """Two convolutions and a mean."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 16),
        nn.ReLU(),
    )


def _labels(side: pd.DataFrame) -> dict[str, int]:
    return dict(zip(side["slide_id"], (side["label"] == "positive").astype(int), strict=True))


def measure(material: Pictures | MadeUp, trial: Trial, folder: Path) -> dict[str, Any]:
    """Train, and measure validation slides and held-out patches."""
    splits = make_splits(material.table, 1, trial.seed, 0.3, 0.3)
    table = splits.merge(material.table[["slide_id", "label"]], on="slide_id")
    sides = {name: table[table["split"] == name] for name in ("train", "val", "test")}
    started = time.process_time()
    score, result = material.fit(trial, sides, folder)
    seconds = time.process_time() - started
    val = {i: torch.from_numpy(score(i)) for i in sides["val"]["slide_id"]}
    labels = np.array(list(_labels(sides["val"]).values()))
    found = {
        "val_loss": result.val_loss,
        "last_val_loss": float(pd.read_csv(folder / "history.csv")["val_loss"].iloc[-1]),
        "seconds": round(seconds, 1),
        **_patches(material.truth, sides["test"], score),
    }
    for pool in POOLS:
        name = "val " + (" ".join(map(str, pool.values())) or "top 0.1")
        pooled = np.array([InstancePool(**pool).pooled(val[i])[1].item() for i in val])
        right = (pooled > 0.5) == labels
        found[name] = {
            "auc": float(roc_auc_score(labels, pooled)),
            "balanced_accuracy": float(np.mean([right[labels == k].mean() for k in (0, 1)])),
        }
    return found


def _patches(
    truth: dict[str, NDArray[np.bool_]], test: pd.DataFrame, score: Score
) -> dict[str, float]:
    """Measure patches of held-out positive slides."""
    slides = [slide_id for slide_id, label in _labels(test).items() if label]
    positive = np.concatenate([truth[i] for i in slides])
    scores = np.concatenate([score(i)[:, 1] for i in slides])
    return {
        "patch_auc": float(roc_auc_score(positive, scores)),
        "recall": float((scores[positive] > 0.5).mean()),
        "specificity": float((scores[~positive] <= 0.5).mean()),
    }


def once(material: Pictures | MadeUp, trial: Trial, out: Path) -> dict[str, Any]:
    """Fit, or read what an earlier call found."""
    folder = out / "trials" / trial.name
    answer = folder / "found.json"
    if not answer.exists():
        write_json(answer, measure(material, trial, folder))
    found: dict[str, Any] = json.loads(answer.read_text())
    print(trial.name, {name: round(found[name], 3) for name in SHOWN}, flush=True)
    return found


def row(found: list[dict[str, Any]], words: str) -> str:
    """Write one line: means over seeds, the patch AUC of each, and the slides by each pool."""
    cells = [f"{np.mean([trial[name] for trial in found]):.3f}" for name in SHOWN]
    each = ", ".join(f"{trial['patch_auc']:.3f}" for trial in found)
    pools = [name for name in found[0] if name.startswith("val ")]
    slides = [
        f"{np.mean([trial[name]['auc'] for trial in found]):.2f}"
        f" ({np.mean([trial[name]['balanced_accuracy'] for trial in found]):.2f})"
        for name in pools
    ]
    return f"| {words or 'default'} | {' | '.join([*cells, each, *slides])} |"


def main() -> None:
    """Run the sweep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.2, help="of what is positive")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--kinds", default="features,pixels")
    parser.add_argument("--only", default=",".join(TRIALS))
    asked = parser.parse_args()
    materials: dict[str, type[Pictures | MadeUp]] = {"pixels": Pictures, "features": MadeUp}
    lines = []
    for kind in asked.kinds.split(","):
        material = materials[kind](asked.share)
        columns = [*SHOWN, "patch_auc of each seed", *(str(pool) for pool in POOLS)]
        lines += [f"{kind}:", "", f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        for changes in (c for name in asked.only.split(",") for c in TRIALS[name]):
            trials = [Trial(kind, seed, changes, asked.epochs) for seed in range(asked.seeds)]
            known = {*trials[0].method.options(), "lr", "per_slide"}
            if set(changes) <= known:
                found = [once(material, trial, asked.out) for trial in trials]
                lines.append(row(found, ", ".join(f"{k} {v}" for k, v in changes.items())))
        lines.append("")
    write_bytes(asked.out / "tables.md", "\n".join(lines).encode())
    print("\n".join(lines))


if __name__ == "__main__":
    main()
