from __future__ import annotations

import numpy as np
import torch

from tests.conformance.head_conformance import ring_bag
from wsikit.heads.mean_pooling import MeanPooling


def test_against_the_formula_in_numpy() -> None:
    torch.manual_seed(1)
    head = MeanPooling(12, 3).eval()
    bag = ring_bag(17)
    weights = {name: value.double().numpy() for name, value in head.state_dict().items()}
    hidden = bag.features.double().numpy() @ weights["embed.0.weight"].T + weights["embed.0.bias"]
    mean = np.maximum(hidden, 0).mean(axis=0)
    logits = mean @ weights["classifier.weight"].T + weights["classifier.bias"]
    with torch.no_grad():
        np.testing.assert_allclose(head(bag).logits, logits, rtol=1e-4, atol=1e-6)


def test_the_slide_is_the_mean_of_its_patches() -> None:
    scores = MeanPooling(12, 3).eval()(ring_bag(17))
    torch.testing.assert_close(scores.patch_logits.mean(dim=0), scores.logits)
