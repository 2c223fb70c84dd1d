"""Make small H&E-like pictures in the layout of BreakHis, with a difference that can be learnt.

Nuclei of malignant pictures are larger, darker and more; all else is the same. The field of view is
that of the data set, whatever the size of the pictures, so a nucleus grows with the magnification.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from wsikit.atomic import ensure_folder
from wsikit.types import FloatArray, Size, UInt8Image

MAGNIFICATIONS = (40, 100, 200, 400)

UM_PER_PX_OF_ONE = 6.5 / 3.3 * 10
"""Micrometres per pixel, times the magnification: 40x has 0.49."""

PUBLISHED_SIZE = Size(700, 460)
SMALL_SIZE = Size(175, 115)
"""A quarter of it a side: quick to make and to learn from."""

TYPES = (
    ("B", "adenosis", "A"), ("M", "ductal_carcinoma", "DC"), ("B", "fibroadenoma", "F"),
    ("M", "lobular_carcinoma", "LC"), ("B", "phyllodes_tumor", "PT"),
    ("M", "mucinous_carcinoma", "MC"), ("B", "tubular_adenoma", "TA"),
    ("M", "papillary_carcinoma", "PC"),
)  # fmt: skip
"""Class, folder and code of the tumour types, by turns benign and malignant."""

_CLASS_FOLDER = {"B": "benign", "M": "malignant"}
_EOSIN, _HAEMATOXYLIN = np.array([232.0, 178.0, 205.0]), np.array([92.0, 62.0, 140.0])


class _Nuclei(NamedTuple):
    """Diameter in um, nuclei per 1,000 um2, and how dark they are, 0..1."""

    diameter_um: float
    density: float
    depth: float


_NUCLEI = {"B": _Nuclei(7.0, 1.6, 0.65), "M": _Nuclei(11.0, 2.4, 0.95)}


def histology_picture(
    malignant: bool, magnification: int, size: Size, rng: np.random.Generator
) -> UInt8Image:
    """Draw one picture.

    Args:
        malignant: whether nuclei are large, dark and many.
        magnification: 40, 100, 200 or 400.
        size: (width, height) in px.
        rng: of all that is drawn.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    um = UM_PER_PX_OF_ONE / magnification * PUBLISHED_SIZE.width / size.width
    kind = _NUCLEI["M" if malignant else "B"]
    shape = (size.height, size.width)
    area = size.width * size.height * um**2
    cover = np.zeros(shape, np.float32)
    for _ in range(max(1, rng.poisson(kind.density * area / 1000))):
        radius = max(0.7, kind.diameter_um / um / 2 * rng.uniform(0.8, 1.25))
        _draw_disc(cover, rng.uniform(0, size.height), rng.uniform(0, size.width), radius)
    grain = ndimage.gaussian_filter(rng.normal(size=shape), 2.0)
    fibres = ndimage.gaussian_filter(rng.normal(size=shape), (1.0, 8.0))
    shade = 1 + 0.05 * grain / max(grain.std(), 1e-6) + 0.06 * fibres / max(fibres.std(), 1e-6)
    weight = (kind.depth * cover)[..., None]
    colour = _EOSIN * shade[..., None] * (1 - weight) + _HAEMATOXYLIN * weight
    noisy: UInt8Image = np.clip(colour + rng.normal(0, 2.5, (*shape, 3)), 0, 255).astype(np.uint8)
    return noisy


def _draw_disc(cover: FloatArray, y: float, x: float, radius: float) -> None:
    """Add a disc with a soft edge, where it is not darker already."""
    reach = int(radius) + 2
    top, left = max(0, int(y) - reach), max(0, int(x) - reach)
    part = cover[top : int(y) + reach + 1, left : int(x) + reach + 1]
    rows = np.arange(part.shape[0])[:, None] + top - y
    cols = np.arange(part.shape[1])[None, :] + left - x
    np.maximum(part, np.clip(radius + 0.5 - np.hypot(rows, cols), 0, 1), out=part)


def write_breakhis_tree(
    folder: Path,
    patients: int = 8,
    pictures: int = 2,
    magnifications: Sequence[int] = MAGNIFICATIONS,
    size: Size = SMALL_SIZE,
    seed: int = 0,
    double_labelled: bool = False,
) -> Path:
    """Write pictures under the names and in the folders in which BreakHis is published.

    Patients are benign and malignant by turns; each has one slide.

    Args:
        folder: receives `BreaKHis_v1`.
        patients: how many.
        pictures: of each patient at each magnification.
        magnifications: some of 40, 100, 200, 400.
        size: (width, height) of the pictures in px.
        seed: decides everything.
        double_labelled: also write slide 13412, under two diagnoses as the published set has it.

    Returns:
        The folder `BreaKHis_v1`.
    """
    root = folder / "BreaKHis_v1"
    for patient in range(patients):
        letters = ("", "AB", "CD")[patient % 3]
        slide = f"14-{10000 + 37 * patient}{letters}"
        _write_slide(root, slide, patient % len(TYPES), pictures, magnifications, size, seed)
    if double_labelled:
        for number in (1, 3):  # ductal and lobular
            _write_slide(root, "14-13412", number, pictures, magnifications, size, seed)
    return root


def _write_slide(
    root: Path,
    slide: str,
    number: int,
    pictures: int,
    magnifications: Sequence[int],
    size: Size,
    seed: int,
) -> None:
    cls, kind, code = TYPES[number]
    name = f"SOB_{cls}_{code}-{slide}"
    top = (
        root
        / "histology_slides"
        / "breast"
        / _CLASS_FOLDER[cls]
        / "SOB"
        / kind
        / name.replace("-", "_", 1)
    )
    for magnification in magnifications:
        inside = top / f"{magnification}X"
        ensure_folder(inside)
        key = [seed, magnification, *slide.encode()]
        rng = np.random.default_rng(key)
        for sequence in range(1, pictures + 1):
            picture = histology_picture(cls == "M", magnification, size, rng)
            path = inside / f"{name}-{magnification}-{sequence:03d}.png"
            Image.fromarray(picture).save(path)
