"""The scanners and laboratories that phantoms pretend to come from.

Each is a stain mixture (optical densities of haematoxylin and eosin per channel), how strongly the
laboratory stains, the colour of empty glass, and the camera's noise. The values are made up; they
spread about as far apart as slides of different laboratories do.
"""

from __future__ import annotations

from typing import NamedTuple


class Scanner(NamedTuple):
    """How stain becomes colour.

    Attributes:
        haematoxylin: optical density (R, G, B) of one unit of haematoxylin, base e.
        eosin: optical density (R, G, B) of one unit of eosin, base e.
        white: (R, G, B) of empty glass, 0..255.
        noise: standard deviation of the camera's noise in grey levels.
    """

    haematoxylin: tuple[float, float, float]
    eosin: tuple[float, float, float]
    white: tuple[float, float, float]
    noise: float


SCANNERS: dict[str, Scanner] = {
    "aurora": Scanner((1.50, 1.62, 0.62), (0.13, 1.36, 0.62), (245.0, 245.0, 246.0), 1.5),
    "boreal": Scanner((1.62, 1.52, 0.56), (0.20, 1.18, 0.44), (241.0, 243.0, 247.0), 1.2),
    "cinder": Scanner((1.30, 1.58, 0.80), (0.10, 1.42, 0.84), (247.0, 244.0, 241.0), 1.6),
    "dune": Scanner((1.44, 1.40, 0.52), (0.12, 1.08, 0.50), (246.0, 246.0, 244.0), 1.4),
}
"""Every scanner by its name."""
