"""Compare encoders by how well they tell tumour from normal: the tables of `docs/am-softmax.md`.

    python pipelines/am_softmax_embedding.py OUT [--idc FOLDER] [--seeds 3] [--epochs 5]
        [--input-px 48] [--network timm:vgg16_bn] [--width 256] [--lr 1e-3] [--device auto]

Three encoders of one architecture, VGG16: as it starts, trained with plain softmax, and trained
with AM-softmax, both by `wsikit train` with the same patches, order and number of steps. They
learn from squares cut from slides, each square a slide of its own with its own label, squares of
one slide always on one side of the split. Then features of all patches are taken, and a linear
probe and nearest neighbours are taught on those of training slides and asked about those of
held-out slides, patch by patch, against the exact mask.

The defaults are for one processor core. Pictures are small. Of VGG16's 134 million weights 103
million lie in its first fully connected layer: with `--width 256` that layer gives 256 numbers and
not 4,096. And `vgg16_bn` has batch norms, without which a VGG16 does not get going from random
weights in a few dozen steps. The full setting is `--network vgg16 --width 4096 --input-px 224
--epochs 100 --lr 1e-4`.

Squares come from phantoms, and with `--idc` from whole-mount breast slides (`NNNN.tif` with
`NNNN_mask.png` beside it). Writes `OUT/tables.md`; stopped and started again, it goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from wsikit.atomic import write_bytes, write_json
from wsikit.cli.console import LineProgress
from wsikit.config import Config, load_config
from wsikit.encoders.backbone import build_backbone
from wsikit.encoders.encoder import RANDOM
from wsikit.encoders.network import Encoder
from wsikit.encoders.random_weights import SEED, draw_weights
from wsikit.encoders.registry import encoder_spec, id_prefix
from wsikit.encoders.saved import read_encoder, save_encoder
from wsikit.execution.pool import open_pool
from wsikit.phantoms.cohort import cohort_specs
from wsikit.phantoms.slide import strips
from wsikit.phantoms.truth import patch_truth, tissue_mask, tumour_mask
from wsikit.slides.open import open_slide
from wsikit.stages.cohort import source_slides
from wsikit.stages.run_folder import RunFolder
from wsikit.stages.tiling.tile import run_tile
from wsikit.stages.training.patch_network import starting_encoder
from wsikit.stages.training.train import run_train
from wsikit.store.store import Store
from wsikit.training.fits.device import resolve_device
from wsikit.types import Box, Mpp, Size, UInt8Image

NEIGHBOURS = 10
TUMOUR_SHARE = 0.5
TISSUE_SHARE = 0.5
TRAINED = {"softmax": "plain softmax", "am-softmax": "AM-softmax"}
START = "start"
MEASURES = ("linear probe", "kNN")

PHANTOMS = 16
PHANTOM_SIZE = Size(2400, 1800)
PHANTOM_MPP = 0.5
PHANTOM_SQUARES = 8
IDC_SQUARES = 30
IDC_MPP = 4.0
LEFT_SHARE = 0.65

Flags = NDArray[np.bool_]


class Square(NamedTuple):
    """A square of a slide: its pixels, its label, and the tumour share of each of its patches."""

    patient: str
    place: str
    pixels: UInt8Image
    label: str
    shares: NDArray[np.float64]


@dataclass(frozen=True)
class Material:
    """Squares of one kind of slide.

    Attributes:
        name: in the tables.
        squares: makes them.
        mpp: of their pixels.
        tile: settings that cut a square into 2 x 2 patches.
        split: the side of each patient at a seed; None where wsikit splits.
    """

    name: str
    squares: Callable[[], Iterator[Square]]
    mpp: float
    tile: Sequence[str]
    split: Callable[[int], dict[str, str]] | None = None


def cut(
    patient: str, image: UInt8Image, tumour: Flags, tissue: Flags, side: int, most: int
) -> Iterator[Square]:
    """Cut squares of `side` px off a grid: up to `most` of tumour and of normal tissue each.

    A square is tumour where at least half of it is marked, and normal where nothing is; what lies
    between is left out, and so is what is not tissue.
    """
    rows, cols = image.shape[0] // side, image.shape[1] // side
    y, x = (side * grid.ravel() for grid in np.mgrid[:rows, :cols])
    scale = (image.shape[1] / tumour.shape[1], image.shape[0] / tumour.shape[0])
    marked = patch_truth(tumour, scale, x, y, side, side)
    filled = patch_truth(tissue, scale, x, y, side, side)
    rng = np.random.default_rng(0)
    for label, wanted in (("tumour", marked >= TUMOUR_SHARE), ("normal", marked == 0)):
        found = rng.permutation(np.flatnonzero(wanted & (filled >= TISSUE_SHARE)))[:most]
        for n in sorted(found):
            half = side / 2
            left, top = x[n] + np.array([0, half, 0, half]), y[n] + np.array([0, 0, half, half])
            yield Square(
                patient,
                f"{y[n] // side}-{x[n] // side}",
                image[y[n] : y[n] + side, x[n] : x[n] + side],
                label,
                patch_truth(tumour, scale, left, top, half, half),
            )


def phantom_squares() -> Iterator[Square]:
    """Draw phantoms and cut them into squares of 128 um."""
    mpp = Mpp(PHANTOM_MPP, PHANTOM_MPP)
    for spec in cohort_specs(PHANTOMS, 0, PHANTOM_SIZE, mpp):
        image = np.concatenate([strip.copy() for strip in strips(spec)])
        masks = tumour_mask(spec, 8), tissue_mask(spec, 8)
        yield from cut(spec.slide_id, image, *masks, side=256, most=PHANTOM_SQUARES)


def idc_squares(folder: Path) -> Iterator[Square]:
    """Cut the whole-mount breast slides into squares of 2 x 2 annotated cells."""
    for path in sorted(folder.glob("*.tif")):
        with open_slide(path) as slide:
            width, height = slide.size_l0
            image = slide.read(Box(0, 0, width, height))
        tumour = np.asarray(Image.open(path.with_name(f"{path.stem}_mask.png"))) > 127
        # White squares are missing: tissue is what is neither that nor glass.
        for square in cut(path.stem, image, tumour, image.min(axis=2) < 220, 100, IDC_SQUARES):
            col = int(square.place.partition("-")[2])
            part = "left" if 100 * col < LEFT_SHARE * width else "right"
            yield square._replace(patient=f"{path.stem}-{part}")


def idc_split(seed: int) -> dict[str, str]:
    """Hold out each of the three slides with tumour in turn.

    Four slides are too few to set whole ones aside for the best epoch: the right parts of the
    training slides do that. Held-out slides take no part in it.
    """
    held_out = ("8863", "8864", "8865")[seed % 3]
    split = {}
    for name in ("8863", "8864", "8865", "8913"):
        split[f"{name}-left"] = "test" if name == held_out else "train"
        split[f"{name}-right"] = "test" if name == held_out else "val"
    return split


def untrained(out: Path, name: str, width: int) -> Path:
    """Save a network with random weights; a VGG's first fully connected layer is this wide."""
    spec = encoder_spec(name)
    if "vgg" in name:
        spec = replace(spec, arguments=(("mlp_ratio", width / 4096),))
    backbone = build_backbone(spec, SEED)
    draw_weights(backbone)
    path = out / f"{id_prefix(name)}-{width}.safetensors"
    save_encoder(path, Encoder(spec, backbone, RANDOM))
    return path


def make_store(material: Material, out: Path) -> Path:
    """Write the squares as slides with a cohort CSV and the truth of their patches, and tile."""
    folder = out / "squares"
    folder.mkdir(parents=True, exist_ok=True)
    rows, truth = [], {}
    for square in material.squares():
        slide_id = f"{square.patient}-{square.place}"
        Image.fromarray(square.pixels).save(folder / f"{slide_id}.png")
        rows.append((f"{slide_id}.png", slide_id, square.patient, square.label, material.mpp))
        truth[slide_id] = square.shares.tolist()
    columns = ["slide", "slide_id", "patient_id", "label", "mpp"]
    table = pd.DataFrame(rows, columns=columns)
    write_bytes(folder / "cohort.csv", table.to_csv(index=False).encode())
    write_json(folder / "truth.json", truth)
    config = load_config(None, material.tile)
    with open_pool(1) as pool:
        run_tile(source_slides([folder / "cohort.csv"]), out / "store", config.tile, pool=pool)
    return out / "store"


def labels_of(material: Material, out: Path, seed: int) -> Path:
    """Return the cohort CSV, with the split of this seed where it is given."""
    cohort = out / "squares" / "cohort.csv"
    if material.split is None:
        return cohort
    table = pd.read_csv(cohort, dtype=str)
    table["split"] = table["patient_id"].map(material.split(seed))
    path = cohort.with_name(f"cohort-{seed}.csv")
    write_bytes(path, table.to_csv(index=False).encode())
    return path


@dataclass(frozen=True)
class Patches:
    """Every patch of a store: features, slide and tumour share."""

    features: NDArray[np.float32]
    slide_ids: NDArray[np.str_]
    shares: NDArray[np.float64]


def encode(store: Store, encoder: Encoder, truth: dict[str, list[float]], device: str) -> Patches:
    """Take the features of every patch."""
    on = resolve_device(device)
    encoder.requires_grad_(False).to(on).eval()
    pixels, slide_ids, shares = [], [], []
    for slide_id in store.slide_ids():
        slide = store.slide(slide_id)
        for n, (row, col) in enumerate(slide.patches.rowcol):
            pixels.append(slide.read_patch(n).transpose(2, 0, 1))
            slide_ids.append(slide_id)
            shares.append(truth[slide_id][2 * row + col])
    parts = []
    with torch.inference_mode():
        for start in range(0, len(pixels), 64):
            batch = torch.from_numpy(np.stack(pixels[start : start + 64])).to(on)
            parts.append(encoder(batch).float().cpu().numpy())
    return Patches(np.concatenate(parts), np.array(slide_ids), np.array(shares))


def separation(patches: Patches, splits: pd.DataFrame) -> dict[str, float]:
    """Teach a probe and neighbours on training slides; return the AUC on held-out ones.

    A patch is tumour where at least half of it is marked and normal where nothing is; patches
    between are left out.
    """
    side = splits.set_index("slide_id")["split"].reindex(patches.slide_ids).to_numpy()
    clear = (patches.shares >= TUMOUR_SHARE) | (patches.shares == 0)
    tumour = patches.shares >= TUMOUR_SHARE
    train, test = (clear & (side == name) for name in ("train", "test"))
    length = np.linalg.norm(patches.features, axis=1, keepdims=True)
    unit = patches.features / np.maximum(length, 1e-9)
    models: dict[str, tuple[Any, NDArray[np.float32]]] = {
        "linear probe": (
            make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000)),
            patches.features,
        ),
        "kNN": (KNeighborsClassifier(NEIGHBOURS), unit),
    }
    found = {}
    for name, (model, features) in models.items():
        model.fit(features[train], tumour[train])
        scores = model.predict_proba(features[test])[:, 1]
        found[name] = float(roc_auc_score(tumour[test], scores))
    return found


def study(material: Material, out: Path, config: Config, seeds: int, device: str) -> str:
    """Run one material; return its table."""
    store_path = make_store(material, out)
    truth = json.loads((out / "squares" / "truth.json").read_text())
    store = Store(store_path)
    start = encode(store, starting_encoder(config.train.patch, print), truth, device)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in (START, *TRAINED)}
    kept = []
    for seed in range(seeds):
        for method in TRAINED:
            run = RunFolder(out / f"{method}-{seed}")
            train = config.train.model_copy(update={"method": method, "positive": "tumour"})
            seeded = config.model_copy(update={"seed": seed, "train": train})
            run_train(
                store_path, labels_of(material, out, seed), run.path, seeded,
                device=device, progress=LineProgress(),
            )  # fmt: skip
            answer = out / f"{method}-{seed}.json"
            if not answer.exists():
                patches = encode(store, read_encoder(run.encoder), truth, device)
                write_json(answer, separation(patches, run.splits()))
            found[method].append(json.loads(answer.read_text()))
            kept.append(json.loads((run.fold(0) / "fit.json").read_text())["best_epoch"])
            print(material.name, method, seed, found[method][-1], flush=True)
        found[START].append(separation(start, RunFolder(out / f"softmax-{seed}").splits()))
    words = f"{len(start.shares)} patches of {len(truth)} squares; best epochs {kept}"
    return f"## {material.name}\n\n{words}\n\n{_table(found)}\n"


def _table(found: dict[str, list[dict[str, float]]]) -> str:
    lines = [
        f"| AUC on held-out slides | {' | '.join(MEASURES)} |",
        "|---|" + "---|" * len(MEASURES),
    ]
    for name, seeds in found.items():
        cells = []
        for measure in MEASURES:
            values = [seed[measure] for seed in seeds]
            each = ", ".join(f"{value:.3f}" for value in values)
            cells.append(f"**{np.mean(values):.3f}** ({each})")
        lines.append(f"| {TRAINED.get(name, name)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def materials(idc: Path | None) -> list[Material]:
    """List what the study runs on."""
    common = ["tile.filters=[]", "tile.min_foreground=0", "tile.stain.method=none"]
    found = [
        Material(
            "Phantoms",
            phantom_squares,
            PHANTOM_MPP,
            [*common, "tile.size=64", "tile.mpp=1.0"],
        )
    ]
    if idc is not None:
        # A cell of 50 px becomes a patch of 48, since a patch's side is a multiple of 8.
        tile = [*common, "tile.size=48", f"tile.mpp={IDC_MPP * 50 / 48:.6f}"]
        found.append(Material("Breast slides", lambda: idc_squares(idc), IDC_MPP, tile, idc_split))
    return found


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--idc", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--input-px", type=int, default=48)
    parser.add_argument("--frozen", type=int, default=0)
    parser.add_argument("--width", type=int, default=256, help="of the first full layer")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--network", default="timm:vgg16_bn", help="any encoder")
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    begun = time.perf_counter()
    start = untrained(asked.out, asked.network, asked.width)
    config = load_config(
        None,
        [
            f"train.epochs={asked.epochs}",
            f"train.lr={asked.lr}",
            f"train.patch.encoder=file:{start}",
            f"train.patch.batch_size={asked.batch_size}",
            f"train.patch.input_px={asked.input_px}",
            f"train.patch.frozen={asked.frozen}",
        ],
    )
    tables = [
        study(material, asked.out / f"{n}", config, asked.seeds, asked.device)
        for n, material in enumerate(materials(asked.idc))
    ]
    write_bytes(asked.out / "tables.md", "\n".join(tables).encode())
    print("\n".join(tables))
    print(f"{(time.perf_counter() - begun) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
