from __future__ import annotations

import pytest
import torch
from torch import nn

from wsikit.training.distillation.teacher import Teacher


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    layers.train()(torch.randn(5, 3, 3, 3))  # so that the norm has seen something
    return layers


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.999, 1.0])
def test_it_follows_by_the_formula(momentum: float) -> None:
    student = network(0)
    teacher = Teacher(student, momentum)
    expected = {name: tensor.double() for name, tensor in student.state_dict().items()}
    for seed in range(1, 4):
        student.load_state_dict(network(seed).state_dict())
        teacher.follow(student)
        for name, tensor in student.state_dict().items():
            expected[name] = momentum * expected[name] + (1 - momentum) * tensor.double()
    for name, tensor in teacher.network.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-5, atol=1e-7)
    assert teacher.network[1].num_batches_tracked == student[1].num_batches_tracked


def test_it_starts_as_a_copy_that_shares_nothing_and_learns_nothing() -> None:
    student = network(0)
    teacher = Teacher(student, 0.9)
    patches = torch.randn(2, 3, 3, 3)
    with torch.no_grad():
        assert torch.equal(teacher.network(patches), student.eval()(patches))
        student[0].weight += 1
        assert not torch.equal(teacher.network(patches), student(patches))
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_it_stays_in_evaluation_mode() -> None:
    around = nn.ModuleDict({"teacher": Teacher(network(0), 0.9), "student": network(1)})
    around.train()
    assert around["student"].training
    assert not any(module.training for module in around["teacher"].modules())
