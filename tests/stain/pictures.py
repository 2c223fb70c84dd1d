"""Pictures whose stain is known, and dense formulas to compare with."""

from __future__ import annotations

import numpy as np
from skimage.color import lab2rgb, rgb2lab

from wsikit.phantoms.render import render_block
from wsikit.phantoms.spec import PhantomSpec
from wsikit.stain.sample import StainSample, gather_sample
from wsikit.types import Mpp, Size

GLASS = 200


def mixture(
    haematoxylin: tuple[float, float, float],
    eosin: tuple[float, float, float],
    white: tuple[float, float, float] = (243.0, 240.0, 245.0),
    strength: float = 1.0,
    noise: float = 1.0,
    seed: int = 0,
) -> np.ndarray:
    """Return (300, 400, 3) uint8: nuclei, cytoplasm and stroma, and a rim of glass."""
    rng = np.random.default_rng(seed)
    shape = (300, 400)
    kind = rng.choice(3, shape, p=(0.3, 0.4, 0.3))
    amounts = np.array([[1.1, 0.05], [0.4, 0.5], [0.01, 0.7]])[kind]
    amounts = strength * amounts * np.exp(0.3 * rng.standard_normal((*shape, 2)))
    amounts[:, :80] = 0
    light = np.array(white) * np.exp(-amounts @ np.array([haematoxylin, eosin]))
    return np.clip(np.round(light + rng.normal(0, noise, light.shape)), 0, 255).astype(np.uint8)


def sample_of(*images: np.ndarray) -> StainSample:
    return gather_sample([(image, ~(image > GLASS).all(axis=2)) for image in images])


def phantom(scanner: str, seed: int = 5) -> np.ndarray:
    """Return (400, 700, 3) uint8 of one and the same tissue, on any scanner."""
    spec = PhantomSpec("p", Size(1500, 1100), Mpp(0.5, 0.49), seed, False, scanner, patient_id="p")
    return render_block(spec, 400, 350, 700, 400)


def lab(image: np.ndarray) -> np.ndarray:
    return rgb2lab(image)


def rgb(lab_image: np.ndarray) -> np.ndarray:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # colours outside sRGB are cut off here too
        return np.clip(lab2rgb(lab_image) * 255, 0, 255)
