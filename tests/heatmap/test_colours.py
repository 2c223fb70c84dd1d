from __future__ import annotations

from itertools import combinations
from typing import get_args

import numpy as np
import pytest
from skimage.color import rgb2lab

from wsikit.config import HeatmapConfig
from wsikit.heatmap.colours import HEAT_MAPS, OKABE_ITO, heat, heat_lut

# Vienot, Brettel and Mollon 1999: protanopia and deuteranopia in linear RGB.
PROTAN = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
DEUTAN = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])


@pytest.mark.parametrize("name", HEAT_MAPS)
def test_lightness_rises_evenly(name: str):
    lightness = rgb2lab(heat_lut(name)[None].astype(float) / 255)[0, :, 0]
    steps = np.diff(lightness[::16])
    assert (steps > 0).all()
    assert steps.max() < 3 * steps.min()


@pytest.mark.parametrize("name", HEAT_MAPS)
def test_order_is_seen_by_dichromats(name: str):
    for matrix in (PROTAN, DEUTAN):
        linear = (heat_lut(name) / 255) ** 2.2
        seen = np.clip(linear @ matrix.T, 0, 1) ** (1 / 2.2)
        lightness = rgb2lab(seen[None])[0, ::16, 0]
        assert (np.diff(lightness) > 0).all()


def test_the_recipe_offers_these_maps():
    assert get_args(HeatmapConfig.model_fields["colours"].annotation) == HEAT_MAPS


def test_ends_and_clipping():
    assert heat(np.array([[-1.0, 0.0], [1.0, 2.0]])).shape == (2, 2, 3)
    np.testing.assert_array_equal(heat(np.array([-1.0, 2.0])), heat_lut()[[0, 255]])


def test_groups_stay_apart_for_dichromats():
    linear = (np.array(OKABE_ITO) / 255) ** 2.2
    for matrix in (np.eye(3), PROTAN, DEUTAN):
        seen = np.clip(linear @ matrix.T, 0, 1) ** (1 / 2.2)
        lab = rgb2lab(seen[None])[0]
        assert min(np.linalg.norm(a - b) for a, b in combinations(lab, 2)) > 10
