"""Phantoms, a run trained on them, and the same run somewhere else with nothing of its training."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from wsikit.config import Config, load_config
from wsikit.encoders.encoder import build_encoder
from wsikit.encoders.saved import save_encoder
from wsikit.phantoms.slide import write_phantom
from wsikit.phantoms.spec import PhantomSpec
from wsikit.stages.cohort import source_slides
from wsikit.stages.extraction.extract import run_extract
from wsikit.stages.graphs.graph import run_graph
from wsikit.stages.tiling.stain_reference import reference_file
from wsikit.stages.tiling.tile import run_tile
from wsikit.stages.training.train import run_train
from wsikit.types import Mpp, Size, UInt8Image

MPP = Mpp(1.0, 0.98)
SCANNERS = ("aurora", "boreal", "cinder", "dune")
SETTINGS = (
    "tile.size=128", "tile.mpp=1.0", "tile.filters=[rgb]", "tile.rgb.window=20",
    "tile.stain.method=reinhard", "extract.encoder=timm:test_resnet", "extract.batch_size=16",
    "graph.k=3", "train.epochs=2", "train.folds=2", "train.bootstrap=100",
)  # fmt: skip


def recipe(*more: str) -> Config:
    """The recipe of these tests, with changes."""
    return load_config(None, [*SETTINGS, *more])


def spec(number: int, folder: str = "") -> PhantomSpec:
    """Slide `number`; each patient has two, every other slide holds tumour."""
    size = Size(520 + 8 * (number % 9), 430 + 6 * (number % 7))
    return PhantomSpec(
        f"{folder}s{number:03d}", size, MPP, 1000 + number, number % 2 == 1, SCANNERS[number % 4]
    )


def write_slides(folder: Path, numbers: range) -> Path:
    """Write phantoms and their cohort's CSV; return the CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in numbers:
        one = spec(number)
        write_phantom(one, folder / f"{one.slide_id}.tiff")
        label = ("normal", "tumour")[one.tumour]
        rows.append((f"{one.slide_id}.tiff", one.slide_id, f"p{number // 2}", label))
    columns = ["slide", "slide_id", "patient_id", "label"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "cohort.csv", index=False)
    return folder / "cohort.csv"


def save_picture(pixels: UInt8Image, path: Path, mpp: float = 1.0) -> None:
    """Write pixels as a slide that states its resolution."""
    per_cm = 1e4 / mpp
    tifffile.imwrite(
        path, pixels, photometric="rgb", tile=(256, 256), compression="deflate",
        resolution=(per_cm, per_cm), resolutionunit="CENTIMETER", metadata=None,
    )  # fmt: skip


def altered(source: Path, target: Path, change: Callable[[UInt8Image], UInt8Image]) -> None:
    """Write a slide with changed pixels."""
    save_picture(np.ascontiguousarray(change(tifffile.imread(source))), target)


def train(
    folder: Path, cohort: Path, config: Config, *, reference: Path | None, graphs: bool, name: str
) -> Path:
    """Tile, describe and train; the encoder's weights lie in a file, the reference in another."""
    store = folder / "store"
    with reference_file(reference, None, config.tile) as tile:
        run_tile(source_slides([cohort]), store, tile)
    identity, outcome = run_extract(store, config.extract, device="cpu")
    assert not outcome.failed
    if graphs:
        run_graph(store, config.graph, identity)
    # The settings of earlier stages are the store's business: training is not told them.
    told = load_config(None, [s for s in SETTINGS if s.startswith(("train", "graph"))])
    told = told.model_copy(update={"train": config.train})
    outcome = run_train(store, cohort, folder / name, told, encoder=identity, device="cpu")
    assert not outcome.failed
    return folder / name


def weights_file(path: Path) -> Path:
    """Write an encoder with weights of its own, as a run that trained it leaves it."""
    encoder = build_encoder("timm:test_resnet", "random")
    for tensor in encoder.backbone.state_dict().values():
        if tensor.is_floating_point():
            tensor.mul_(1.01)
    save_encoder(path, encoder)
    return path


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return predictions and patch scores."""
    files = [folder / "predictions.csv", *sorted((folder / "patches").glob("*.parquet"))]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def move_away(run: Path, target: Path, *lost: Path) -> Path:
    """Move a run, and delete what else its training left."""
    shutil.move(run, target)
    for path in lost:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            os.unlink(path)
    return target
