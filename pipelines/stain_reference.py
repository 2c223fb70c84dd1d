"""Make the packaged stain reference: an imagined, evenly stained H&E slide, in numbers.

No one's tissue is in it. Pixels are drawn from four kinds of tissue, each with log-normal amounts
of haematoxylin and eosin, and turned into colour by Beer-Lambert with the stain vectors that
Macenko et al. (2009) give as typical. Histograms, Lab statistics and stains are all measured on
the same pixels. Run it as `python pipelines/stain_reference.py FILE.json`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsikit.stain.reference import Reference, fit_reference, save_reference
from wsikit.stain.sample import StainSample

STAINS = np.array([[0.563, 0.720, 0.406], [0.216, 0.801, 0.558]])
"""Optical density of unit haematoxylin and unit eosin in R, G and B."""

WHITE = np.array([243.0, 242.0, 244.0])

TISSUE = (
    # share, haematoxylin (median, spread), eosin (median, spread)
    (0.20, (1.05, 0.32), (0.45, 0.40)),  # nuclei
    (0.30, (0.42, 0.35), (0.50, 0.35)),  # cytoplasm
    (0.35, (0.20, 0.45), (0.58, 0.35)),  # stroma
    (0.15, (0.10, 0.50), (0.30, 0.45)),  # pale and loose tissue
)


def draw_pixels(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return (count, 3) uint8 pixels of the imagined tissue, kind after kind."""
    rng = np.random.default_rng(seed)
    kinds = []
    for share, haematoxylin, eosin in TISSUE:
        n = round(share * count)
        amounts = np.stack(
            [m * np.exp(s * rng.standard_normal(n)) for m, s in (haematoxylin, eosin)]
        )
        kinds.append(WHITE * np.exp(-amounts.T @ STAINS) + rng.normal(0, 2, (n, 3)))
    return np.clip(np.round(np.concatenate(kinds)), 0, 255).astype(np.uint8)


def make_reference(count: int = 1_000_000) -> Reference:
    """Return the reference: tissue pixels, glass-like ones left out."""
    pixels = draw_pixels(count)
    tissue = pixels[(pixels <= 200).any(axis=1)]
    histogram = np.stack([np.bincount(tissue[:, c], minlength=256) for c in range(3)])
    red, green, blue = WHITE.tolist()
    return fit_reference(StainSample(histogram, tissue, (red, green, blue)))


def main() -> None:
    """Write the reference to the file named on the command line."""
    save_reference(make_reference(), Path(sys.argv[1]))


if __name__ == "__main__":
    main()
