from __future__ import annotations

import numpy as np
import torch

from tests.conformance.head_conformance import ring_bag
from wsikit.heads.abmil import GatedABMIL


def test_against_the_paper_in_numpy() -> None:
    torch.manual_seed(1)
    head = GatedABMIL(12, 3).eval()
    bag = ring_bag(17)
    weights = {name: value.double().numpy() for name, value in head.state_dict().items()}

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0)

    hidden = np.maximum(linear("embed.0", bag.features.double().numpy()), 0)
    gate = 1 / (1 + np.exp(-linear("attention_u", hidden)))
    score = linear("attention_w", np.tanh(linear("attention_v", hidden)) * gate)[:, 0]
    share = np.exp(score) / np.exp(score).sum()
    logits = linear("classifier", share @ hidden)

    with torch.no_grad():
        scores = head(bag)
    np.testing.assert_allclose(scores.attention, share, rtol=1e-5)
    np.testing.assert_allclose(scores.logits, logits, rtol=1e-4, atol=1e-6)


def test_patch_logits_decompose_the_slide_exactly() -> None:
    scores = GatedABMIL(12, 3).eval()(ring_bag(17))
    torch.testing.assert_close(scores.attention @ scores.patch_logits, scores.logits)


def test_repeating_every_patch_changes_nothing() -> None:
    head = GatedABMIL(12, 3).eval()
    bag = ring_bag(6)
    twice = type(bag)(bag.features.repeat(2, 1), bag.rowcol.repeat(2, 1))
    torch.testing.assert_close(head(twice).logits, head(bag).logits)
