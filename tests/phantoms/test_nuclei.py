from __future__ import annotations

import numpy as np
import pytest

from wsikit.phantoms.nuclei import stamps_for
from wsikit.phantoms.textures import textures_for
from wsikit.types import Mpp


def spread_um(stamp, mpp):
    """Return the standard deviations (x, y) of a stamp's outline, in micrometres."""
    rows, columns = np.nonzero(stamp > 0.4 * stamp.max())
    return columns.std() * mpp.x, rows.std() * mpp.y


@pytest.mark.parametrize("mpp", [Mpp(0.5, 0.49), Mpp(0.5, 0.25), Mpp(0.3, 0.6)])
def test_round_nuclei_are_round_in_micrometres(mpp):
    spreads = np.array([spread_um(stamp, mpp) for stamp in stamps_for(mpp).lymphocyte])
    assert abs(np.mean(spreads[:, 0] / spreads[:, 1]) - 1) < 0.06
    # A disc of diameter d has a standard deviation of d / 4 along each axis.
    assert 4.6 < 4 * spreads.mean() < 6.8


def test_tumour_nuclei_are_larger_and_vary_more_than_lymphocytes():
    mpp = Mpp(0.5, 0.49)
    stamps = stamps_for(mpp)
    tumour = np.array([np.prod(spread_um(stamp, mpp)) for stamp in stamps.tumour])
    benign = np.array([np.prod(spread_um(stamp, mpp)) for stamp in stamps.lymphocyte])
    assert tumour.mean() > 2 * benign.mean()
    assert tumour.std() / tumour.mean() > 2 * benign.std() / benign.mean()


@pytest.mark.parametrize("name", ["grain", "cloud", "camera", "wall_um"])
def test_textures_repeat_without_a_seam(name):
    texture = getattr(textures_for(Mpp(0.5, 0.49)), name)
    seam = np.abs(texture[:, 0] - texture[:, -1]).mean()
    inside = np.abs(np.diff(texture, axis=1)).mean()
    assert seam < 1.3 * inside
