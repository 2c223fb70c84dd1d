"""Made sets have the published names, the same bytes each time, and a difference to be learnt."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image

from wsikit.phantoms.histology_pictures import histology_picture, write_breakhis_tree
from wsikit.phantoms.mammogram_sets import write_cbis_ddsm_tree, write_mini_mias
from wsikit.phantoms.mammograms import phantom_mammogram
from wsikit.types import Size


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_breakhis_is_laid_out_as_published(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_breakhis_tree(tmp_path / name, 2, 1, (40,), Size(35, 23))
    assert files(tmp_path / "a") == files(tmp_path / "b")
    top = "BreaKHis_v1/histology_slides/breast"
    assert sorted(files(tmp_path / "a")) == [
        f"{top}/benign/SOB/adenosis/SOB_B_A_14-10000/40X/SOB_B_A-14-10000-40-001.png",
        f"{top}/malignant/SOB/ductal_carcinoma/SOB_M_DC_14-10037AB/40X/"
        "SOB_M_DC-14-10037AB-40-001.png",
    ]


def test_malignant_pictures_are_darker_at_every_magnification() -> None:
    for magnification in (40, 100, 200):
        benign, malignant = (
            [histology_picture(kind, magnification, Size(175, 115), np.random.default_rng(n)).mean()
             for n in range(6)]
            for kind in (False, True)
        )  # fmt: skip
        assert max(malignant) < min(benign)


def test_cbis_ddsm_has_the_oddities_of_the_real_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_cbis_ddsm_tree(tmp_path / name, 5, Size(64, 96))
    assert files(tmp_path / "a") == files(tmp_path / "b")
    text = (tmp_path / "a/mass_case_description_train_set.csv").read_text()
    assert text.count("\n") == 1 + 2 * 12  # a line break in the last path of every row
    with (tmp_path / "a/mass_case_description_train_set.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert "breast_density" in rows[0]
    swapped = []
    for row in rows:
        mask = pydicom.dcmread(tmp_path / "a/CBIS-DDSM" / row["ROI mask file path"].strip())
        swapped.append(mask.BitsStored == 16)
        image = pydicom.dcmread(tmp_path / "a/CBIS-DDSM" / row["image file path"].strip())
        assert (image.Rows, image.Columns, image.BitsStored) == (96, 64, 16)
    assert 0 < sum(swapped) < len(swapped)


def test_stars_have_a_longer_outline_than_discs() -> None:
    def roundness(malignant: bool, seed: int) -> float:
        made = phantom_mammogram([malignant], Size(320, 480), np.random.default_rng(seed))
        mask = made.lesions[0]
        rows, cols = mask.any(axis=1).sum(), mask.any(axis=0).sum()
        return float(mask.sum() / (rows * cols))

    benign, malignant = ([roundness(kind, n) for n in range(5)] for kind in (False, True))
    assert max(malignant) < min(benign)


def test_mini_mias_counts_from_the_bottom(tmp_path: Path) -> None:
    write_mini_mias(tmp_path, 8, 128)
    with (tmp_path / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    for row in (row for row in rows if row["r"]):
        image = np.asarray(Image.open(tmp_path / f"{row['Name']}.png"), float)
        x, y = int(row["x"]) * 128 // 1024, (1024 - int(row["y"])) * 128 // 1024
        assert image[y - 1 : y + 2, x - 1 : x + 2].mean() > 1.5 * image[image > 20].mean()
