from __future__ import annotations

from itertools import combinations

import numpy as np
from skimage.color import rgb2lab

from wsikit.heatmap.colours import OKABE_ITO, heat, heat_lut


def test_lightness_rises_evenly():
    lightness = rgb2lab(heat_lut()[None].astype(float) / 255)[0, :, 0]
    steps = np.diff(lightness[::16])
    assert (steps > 0).all()
    assert steps.max() < 2.5 * steps.min()


def test_ends_and_clipping():
    assert heat(np.array([[-1.0, 0.0], [1.0, 2.0]])).shape == (2, 2, 3)
    np.testing.assert_array_equal(heat(np.array([-1.0, 2.0])), heat_lut()[[0, 255]])


def test_groups_stay_apart_for_dichromats():
    # Vienot, Brettel and Mollon 1999: protanopia and deuteranopia in linear RGB.
    protan = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
    deutan = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    linear = (np.array(OKABE_ITO) / 255) ** 2.2
    for matrix in (np.eye(3), protan, deutan):
        seen = np.clip(linear @ matrix.T, 0, 1) ** (1 / 2.2)
        lab = rgb2lab(seen[None])[0]
        assert min(np.linalg.norm(a - b) for a, b in combinations(lab, 2)) > 10
