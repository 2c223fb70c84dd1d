"""The cohorts of `science.py`: pictures with a cohort CSV and, where known, the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from wsikit.phantoms.cohort import cohort_specs, cohort_table, write_truth
from wsikit.phantoms.slide import write_phantom
from wsikit.slides.open import open_slide
from wsikit.types import Box, Mpp, Size

KEEP_ALL = ("tile.filters=[]", "tile.min_foreground=0", "tile.stain.method=none")

REGION_PX = 200
CELL_PX = 50
IDC_MPP = 4.0
IDC_HELD_OUT = ("8863", "8864", "8865")
VALIDATING = 3
"""Every third column of regions of a training slide chooses the best epoch."""

FEATURES = ("train.epochs=50", "train.patience=50", "train.lr=5e-3")
"""What docs/self-distillation.md advises for features of a small cohort. On the breast regions the
settings of the other heads have the lower validation loss, so they stay there."""

IDC_SHARE = 0.7
"""Of 0.3, 0.5 and 0.7 the one with the least validation loss, by the mean of the hold-outs."""

UCSB_MPP = 0.5
UCSB_SHARE = 0.9
"""Of 0.5, 0.7 and 0.9 the one with the least validation loss, by the mean of folds and seeds."""

PHANTOM_MPP = Mpp(1.0, 1.0)

SideOf = Callable[[str, int], str]
"""From patient id and seed to train, val or test."""


@dataclass(frozen=True)
class Cohort:
    """Slides with labels, and how they are tiled and split.

    Attributes:
        name: in the tables.
        csv: the cohort CSV.
        positive: the label to detect.
        tile: settings beside the defaults.
        share: of positive patches in positive slides, as self-distillation is to assume it.
        distil: settings of self-distillation on features, beside those of all heads.
        folds: of the cross-validation, where wsikit splits.
        side_of: a split of the cohort's own; None where wsikit splits.
        truth: folder of masks; None where no patch is labelled.
    """

    name: str
    csv: Path
    positive: str
    tile: tuple[str, ...]
    share: float
    distil: tuple[str, ...] = ()
    folds: int = 1
    side_of: SideOf | None = None
    truth: Path | None = None

    def labels(self, seed: int) -> Path:
        """Return the cohort CSV, with the split of this seed where the cohort has its own."""
        if self.side_of is None:
            return self.csv
        table = pd.read_csv(self.csv, dtype=str)
        table["split"] = [self.side_of(patient, seed) for patient in table["patient_id"]]
        path = self.csv.with_name(f"cohort-{seed}.csv")
        table.to_csv(path, index=False)
        return path


class Region(NamedTuple):
    """A square of a slide as a slide of its own."""

    patient: str
    place: str
    pixels: NDArray[np.uint8]
    tumour: NDArray[np.bool_]


def phantom_cohort(folder: Path, share: float, slides: int, size: Size) -> Cohort:
    """Draw a cohort in whose tumour slides this share of the tissue is tumour."""
    csv = folder / "cohort.csv"
    truth = folder / "truth"
    if not csv.exists():
        truth.mkdir(parents=True, exist_ok=True)
        specs = cohort_specs(slides, round(1000 * share), size, PHANTOM_MPP, share)
        for spec in specs:
            write_phantom(spec, folder / f"{spec.slide_id}.tiff")
            write_truth(spec, truth)
        cohort_table(specs).drop(columns="site").to_csv(csv, index=False)
    return Cohort(
        f"phantoms, {share:.0%} tumour", csv, "tumour",
        ("tile.size=64", f"tile.mpp={PHANTOM_MPP.x}"), share, FEATURES, folds=3, truth=truth,
    )  # fmt: skip


def ucsb_cohort(data: Path, folder: Path) -> Cohort:
    """List the breast pictures; those of one tissue array are one patient."""
    csv = folder / "cohort.csv"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        (
            path.resolve(),
            path.stem,
            "_".join(path.stem.split("_")[:2]),
            "malignant" if "malignant" in path.stem else "benign",
            UCSB_MPP,
        )
        for path in sorted((data / "ucsb").glob("*.png"))
    ]
    _write(rows, csv)
    return Cohort(
        "breast pictures (UCSB)", csv, "malignant",
        (*KEEP_ALL, "tile.size=64", f"tile.mpp={UCSB_MPP}"), UCSB_SHARE, FEATURES, folds=4,
    )  # fmt: skip


def idc_cohort(data: Path, folder: Path, most: int) -> Cohort:
    """Cut the whole-mount breast slides into regions of 4 x 4 annotated cells.

    A region is tumour where a cell of it is. Of each slide up to `most` regions of either label
    are taken, at random. A slide is held out whole. Four slides are too few to set whole ones aside
    for the best epoch too, so every third column of regions of the slides that train does that.
    """
    csv, truth = folder / "cohort.csv", folder / "truth"
    if not csv.exists():
        truth.mkdir(parents=True, exist_ok=True)
        rows = []
        for region in _idc_regions(data / "idc", most):
            name = f"{region.patient}-{region.place}"
            Image.fromarray(region.pixels).save(folder / f"{name}.png")
            Image.fromarray(region.tumour.astype(np.uint8) * 255).save(truth / f"{name}_mask.png")
            label = "tumour" if region.tumour.any() else "normal"
            rows.append((f"{name}.png", name, region.patient, label, IDC_MPP))
        _write(rows, csv)
    # A cell of 50 px becomes a patch of 48, since a patch's side is a multiple of 8.
    tile = (*KEEP_ALL, "tile.size=48", f"tile.mpp={IDC_MPP * CELL_PX / 48:.6f}")
    return Cohort(
        "breast regions (IDC)", csv, "tumour", tile, IDC_SHARE, side_of=_idc_side, truth=truth
    )


def _idc_side(patient: str, seed: int) -> str:
    name, part = patient.split("-")
    if name == IDC_HELD_OUT[seed % len(IDC_HELD_OUT)]:
        return "test"
    return part


def _idc_regions(folder: Path, most: int) -> Iterator[Region]:
    rng = np.random.default_rng(0)
    for path in sorted(folder.glob("*.tif")):
        with open_slide(path) as slide:
            width, height = slide.size_l0
            image = slide.read(Box(0, 0, width, height))
        tumour = np.asarray(Image.open(path.with_name(f"{path.stem}_mask.png"))) > 127
        found: dict[bool, list[Region]] = {True: [], False: []}
        for top in range(0, height - REGION_PX + 1, REGION_PX):
            for left in range(0, width - REGION_PX + 1, REGION_PX):
                box = np.s_[top : top + REGION_PX, left : left + REGION_PX]
                # White squares are missing: tissue is what is neither that nor glass.
                if (image[box].min(axis=2) < 220).mean() < 0.5:
                    continue
                row, col = top // REGION_PX, left // REGION_PX
                part = "val" if col % VALIDATING == VALIDATING - 1 else "train"
                region = Region(f"{path.stem}-{part}", f"{row}-{col}", image[box], tumour[box])
                found[bool(tumour[box].any())].append(region)
        for regions in found.values():
            yield from (regions[n] for n in sorted(rng.permutation(len(regions))[:most]))


def _write(rows: list[tuple[object, ...]], csv: Path) -> None:
    columns = ["slide", "slide_id", "patient_id", "label", "mpp"]
    pd.DataFrame(rows, columns=columns).to_csv(csv, index=False)
