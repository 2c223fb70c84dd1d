"""The learning rate on a plateau, beside torch's own scheduler."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wsikit.training.patches.rate import plateau_rate


@pytest.mark.parametrize("patience", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_torchs_scheduler_without_its_state(patience: int, seed: int) -> None:
    """torch lowers the rate after more than `patience` epochs, the sources after as many."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-2)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=0.2, patience=patience - 1, threshold=0, eps=0
    )
    rng = np.random.default_rng(seed)
    past: list[float] = []
    for value in rng.integers(0, 9, 40) / 8:  # with ties
        expected = optimiser.param_groups[0]["lr"]
        assert plateau_rate(1e-2, past, 0.2, patience) == pytest.approx(expected, rel=1e-9)
        past.append(float(value))
        theirs.step(float(value))
        optimiser.step()


def test_a_factor_of_one_leaves_it() -> None:
    assert plateau_rate(1e-3, [1.0] * 50, 1, 1) == 1e-3
