from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from wsikit.errors import WsikitError
from wsikit.training.bags.module import BagModule, balanced_weights, step_seed


def test_balanced_classes_add_the_same_to_the_loss():
    weights = balanced_weights([0, 0, 0, 1], classes=2)
    assert weights == pytest.approx([4 / 6, 4 / 2])
    assert 3 * weights[0] == pytest.approx(1 * weights[1])
    assert balanced_weights([0, 1, 2], classes=3) == [1, 1, 1]
    with pytest.raises(WsikitError, match="class number 1 has no training slide"):
        balanced_weights([0, 2], classes=3)


@pytest.mark.parametrize("number", [0, 1])
def test_the_weight_of_a_class_reaches_the_loss_of_a_single_bag(tiny_head, make_bags, number):
    head = tiny_head().eval()
    module = BagModule(head, 1e-3, 0, [0.5, 3.0], seed=0)
    item = make_bags([number])[0]
    logits = head(item.bag).logits
    plain = functional.cross_entropy(logits[None], torch.tensor([number]))
    loss = module._weighed(head.training_loss(item.bag, torch.tensor(number)), item)
    assert loss.item() == pytest.approx([0.5, 3.0][number] * plain.item())


def test_training_makes_the_heads_own_loss_small(tiny_head, make_bags, monkeypatch):
    head, item = tiny_head(), make_bags([1])[0]
    monkeypatch.setattr(head, "training_loss", lambda bag, label: bag.features.sum() + label)
    module = BagModule(head, 1e-3, 0, None, seed=0)
    monkeypatch.setattr(module, "log", lambda *args, **options: None)
    monkeypatch.setattr(BagModule, "current_epoch", 0)
    assert module.training_step(item, 0).item() == pytest.approx(item.bag.features.sum().item() + 1)


def test_the_optimiser_has_every_parameter_and_the_options(tiny_head):
    head = tiny_head()
    optimiser = BagModule(head, 0.125, 0.5, None, seed=0).configure_optimizers()
    assert isinstance(optimiser, torch.optim.AdamW)
    (group,) = optimiser.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.125, 0.5)
    assert len(group["params"]) == len(list(head.parameters()))


def test_seeds_of_steps_differ():
    seeds = {step_seed(s, e, b) for s in range(4) for e in range(4) for b in range(4)}
    assert len(seeds) == 64
    assert all(0 <= seed < 2**63 for seed in seeds)
