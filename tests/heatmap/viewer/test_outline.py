from __future__ import annotations

import numpy as np
from shapely import Polygon, contains_xy, union_all

from wsikit.heatmap.sheet import TruthOutline
from wsikit.heatmap.viewer.outline import outline_rings


def test_rings_enclose_the_mask_in_the_level_0_frame():
    mask = np.zeros((40, 60), bool)
    mask[5:20, 30:55] = True
    mask[30:40, 0:10] = True  # at the corner: the line must close
    rings = outline_rings(TruthOutline(mask, (32.0, 30.0), "tumour"))
    region = union_all([Polygon(ring) for ring in rings])
    rows, cols = np.indices(mask.shape)
    inside = contains_xy(region, (cols + 0.5) * 32, (rows + 0.5) * 30)
    np.testing.assert_array_equal(inside, mask)
    assert all((ring[0] == ring[-1]).all() for ring in rings)
    left, top, right, bottom = Polygon(max(rings, key=len)).bounds
    assert min(left, top) >= 0
    assert (right, bottom) <= (60 * 32, 40 * 30)


def test_a_mask_of_nothing_has_no_ring():
    assert outline_rings(TruthOutline(np.zeros((4, 4), bool), (1.0, 1.0), "t")) == []
