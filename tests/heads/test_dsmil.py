from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.conformance.head_conformance import ring_bag
from wsikit.heads.bag import Bag
from wsikit.heads.dsmil import DSMIL


@pytest.mark.parametrize("classes", [2, 3])
def test_against_the_paper_in_numpy(classes: int) -> None:
    torch.manual_seed(1)
    head = DSMIL(12, classes).eval()
    bag = ring_bag(17)
    weights = {name: value.double().numpy() for name, value in head.state_dict().items()}

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    hidden = np.maximum(linear("embed.0", bag.features.double().numpy()), 0)
    patches, queries = linear("patch_classifier", hidden), linear("query", hidden)
    bags, shares = [], []
    for c in range(patches.shape[1]):
        likeness = queries @ queries[patches[:, c].argmax()] / np.sqrt(128)
        shares.append(np.exp(likeness) / np.exp(likeness).sum())
        bags.append(shares[-1] @ hidden)
    critical, slide = patches.max(axis=0), linear("bag_classifier", np.concatenate(bags))
    if classes == 2:  # the first is the absence of the second: 1 - sigmoid(z)
        critical, slide = np.append(0, critical), np.append(0, slide)
        patches = np.insert(patches, 0, 0, axis=1)

    with torch.no_grad():
        scores = head(bag)
        loss = head.training_loss(bag, torch.tensor(classes - 1)).item()
    np.testing.assert_allclose(scores.patch_logits, patches, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores.logits, (critical + slide) / 2, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores.attention, np.mean(shares, axis=0), rtol=1e-4)
    losses = [np.log(np.exp(logits).sum()) - logits[-1] for logits in (critical, slide)]
    assert loss == pytest.approx(np.mean(losses), rel=1e-4)


def test_a_patch_like_the_critical_one_weighs_more() -> None:
    head = DSMIL(12, 2).eval()
    bag = ring_bag(20)
    scores = head(bag)
    queries = head.query(head.embed(bag.features))
    likeness = queries @ queries[scores.patch_logits[:, 1].argmax()]
    assert torch.equal(scores.attention.argsort(), likeness.argsort())


def test_normal_patches_in_a_tumour_slide_are_not_held_against_it() -> None:
    """A slide is positive however normal its other patches are: more of them change nothing."""
    torch.manual_seed(2)
    head = DSMIL(12, 2).eval()
    bag = ring_bag(20)
    scores = head(bag).patch_logits
    normal = bag.features[scores[:, 1].argmin()].expand(5, -1)
    more = Bag(torch.cat([bag.features, normal]), torch.cat([bag.rowcol, bag.rowcol[:5]]))
    critical = [head._streams(b).critical for b in (bag, more)]
    torch.testing.assert_close(*critical)
    assert critical[0][0] == 0
