"""A cohort of small pictures of two textures, tiled into a store in a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from wsikit.config import Config, load_config
from wsikit.execution.pool import open_pool
from wsikit.stages.cohort import source_slides
from wsikit.stages.tiling.tile import run_tile

SIDE = 32
SETTINGS = (
    "tile.size=32", "tile.mpp=1.0", "tile.filters=[]", "tile.min_foreground=0",
    "tile.stain.method=none", "tile.codec.name=zstd", "train.method=am-softmax",
    "train.epochs=4", "train.lr=3e-3", "train.bootstrap=100",
    "train.patch.encoder=timm:test_resnet", "train.patch.weights=random",
    "train.patch.input_px=32", "train.patch.batch_size=16", "train.patch.per_slide=8",
)  # fmt: skip


def recipe(*more: str) -> Config:
    """The recipe of these tests, with changes."""
    return load_config(None, [*SETTINGS, *more])


def write_cohort(folder: Path, patients: int = 12) -> Path:
    """Write a slide or two a patient, 4 x 3 patches each; class `fine` has the finer noise."""
    folder.mkdir(parents=True)
    rows = []
    for patient in range(patients):
        label = ("coarse", "fine")[patient % 2]
        for number in range(1 + patient % 3 // 2):
            slide_id = f"p{patient}s{number}"
            rng = np.random.default_rng([patient, number])
            grain = 1 if label == "fine" else 4
            noise = rng.integers(0, 180, (3 * SIDE // grain, 4 * SIDE // grain, 3), np.uint8)
            pixels = np.kron(noise, np.ones((grain, grain, 1), np.uint8))
            Image.fromarray(pixels + np.uint8(5 * (patient % 7))).save(folder / f"{slide_id}.png")
            rows.append((f"{slide_id}.png", slide_id, f"patient-{patient}", label, 1.0))
    columns = ["slide", "slide_id", "patient_id", "label", "mpp"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "cohort.csv", index=False)
    return folder / "cohort.csv"


def make_store(folder: Path) -> tuple[Path, Path]:
    """Return the store of a new cohort, and the cohort's CSV."""
    cohort = write_cohort(folder / "slides")
    with open_pool(1) as pool:
        run_tile(source_slides([cohort]), folder / "store", recipe().tile, pool=pool)
    return folder / "store", cohort
