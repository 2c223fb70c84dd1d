"""Draw mammograms whose lesions are known: round ones are benign, stars are malignant."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsikit.types import BoolMask, FloatArray, Size

BACKGROUND = 0.02
SPIKES = 9


class PhantomMammogram(NamedTuple):
    """A mammogram and its truth.

    Attributes:
        pixels: (H, W) uint16, 0 to `max_value`; the breast lies at one side, a label at the other.
        lesions: (H, W) bool each.
        breast: (H, W) bool.
    """

    pixels: NDArray[np.uint16]
    lesions: list[BoolMask]
    breast: BoolMask


def phantom_mammogram(
    lesions: list[bool],
    size: Size,
    rng: np.random.Generator,
    left: bool = True,
    max_value: int = 65535,
) -> PhantomMammogram:
    """Draw one mammogram.

    Args:
        lesions: one entry a lesion, whether it is malignant; there may be none.
        size: (width, height) in px, 64 or more.
        rng: of all that is drawn.
        left: whether the chest wall is at the left side of the picture.
        max_value: what white is.
    """
    rows, cols = np.mgrid[0 : size.height, 0 : size.width].astype(np.float32)
    down, across = rows / size.height - 0.5, cols / size.width
    distance = np.hypot(down / 0.42, across / 0.75)
    breast = distance < 1
    noise = ndimage.gaussian_filter(rng.normal(size=breast.shape), max(1.0, size.width / 60))
    tissue = 0.3 + 0.12 * noise / max(float(noise.std()), 1e-6)
    picture = np.where(
        breast, np.clip(tissue, 0.12, 0.6) * np.sqrt(np.clip(1.2 - distance, 0, 1)), 0
    )
    masks = []
    for number, malignant in enumerate(lesions):
        mask, bright = _lesion(rows, cols, number, len(lesions), malignant, size, rng)
        picture = np.maximum(picture, picture + np.where(breast, bright, 0))
        masks.append(mask & breast)
    picture = picture + BACKGROUND + rng.normal(0, 0.006, picture.shape)
    _draw_label(picture, size)
    if not left:
        picture, breast = picture[:, ::-1], breast[:, ::-1]
        masks = [mask[:, ::-1] for mask in masks]
    pixels = np.rint(np.clip(picture, 0, 1) * max_value).astype(np.uint16)
    return PhantomMammogram(pixels, [np.ascontiguousarray(m) for m in masks], breast)


def _lesion(
    rows: FloatArray,
    cols: FloatArray,
    number: int,
    count: int,
    malignant: bool,
    size: Size,
    rng: np.random.Generator,
) -> tuple[BoolMask, FloatArray]:
    """Return where a lesion is, and how much brighter it makes the picture."""
    radius = 0.06 * size.width * rng.uniform(0.9, 1.3)
    y = size.height * (0.5 + (number + 0.5 - count / 2) * 0.24 + rng.uniform(-0.03, 0.03))
    x = size.width * rng.uniform(0.22, 0.38)
    far, angle = np.hypot(rows - y, cols - x), np.arctan2(rows - y, cols - x)
    edge: FloatArray = np.full_like(far, radius)
    if malignant:
        wave = np.cos(SPIKES * angle + rng.uniform(0, 6))
        edge = radius * (0.75 + 0.9 * np.clip(wave, 0, 1) ** 3)
    inside = far < edge
    soft = np.clip((edge - far) / max(1.0, radius * (0.15 if malignant else 0.4)), 0, 1)
    return inside, np.asarray(0.4 * soft, np.float32)


def _draw_label(picture: NDArray[np.float64], size: Size) -> None:
    """Draw a bright label with dark letters, away from the breast."""
    top, left = int(0.04 * size.height), int(0.84 * size.width)
    high, wide = max(4, size.height // 16), max(6, size.width // 9)
    picture[top : top + high, left : left + wide] = 0.97
    picture[top + high // 3 : top + 2 * high // 3, left + 2 : left + wide - 2 : 3] = 0.1
