"""BreakHis as it is published, with pictures made by program: nuclei, more of them if malignant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

MAGNIFICATIONS = (40, 100, 200, 400)
SIZE = (70, 46)
TYPES = {"benign": ("B", "A", "adenosis"), "malignant": ("M", "DC", "ductal_carcinoma")}


def write_tree(
    folder: Path, patients: int, pictures: int, magnifications=MAGNIFICATIONS, seed: int = 0
) -> Path:
    """Write as many patients of each class, and as many pictures of each at a magnification."""
    for label, (letter, code, type_name) in TYPES.items():
        for patient in range(patients):
            slide = f"14-{1000 + 500 * (label == 'malignant') + patient}"
            own = folder / "BreaKHis_v1/histology_slides/breast" / label / "SOB" / type_name
            for magnification in magnifications:
                place = own / f"SOB_{letter}_{code}_{slide}" / f"{magnification}X"
                place.mkdir(parents=True)
                for n in range(pictures):
                    rng = np.random.default_rng([seed, int(slide[3:]), magnification, n])
                    name = f"SOB_{letter}_{code}-{slide}-{magnification}-{n + 1:03d}.png"
                    stain = np.random.default_rng([seed, int(slide[3:])])
                    pixels = picture(rng, stain, label == "malignant", magnification, SIZE)
                    Image.fromarray(pixels).save(place / name)
    return folder


def picture(rng, stain, malignant: bool, magnification: int, size) -> np.ndarray:
    """Draw discs on a ground whose colours are the patient's; (H, W, 3) uint8."""
    width, height = size
    ground = np.array([225, 160, 195]) + stain.integers(-20, 21, 3)
    ink = np.array([95, 50, 130]) + stain.integers(-20, 21, 3)
    radius = 1.2 * (magnification / 40) ** 0.45
    share = rng.uniform(0.25, 0.35) if malignant else rng.uniform(0.08, 0.18)
    count = max(1, int(share * width * height / (np.pi * radius**2)))
    y, x = np.mgrid[:height, :width]
    near = np.full((height, width), np.inf)
    for cx, cy in rng.random((count, 2)) * size:
        near = np.minimum(near, np.hypot(x - cx, y - cy))
    inside = (near < radius * (1.25 if malignant else 1))[..., None]
    pixels = np.where(inside, ink, ground) + rng.normal(0, 6, (height, width, 3))
    return pixels.clip(0, 255).astype(np.uint8)
