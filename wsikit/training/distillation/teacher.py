"""The teacher: a slow copy of the student."""

from __future__ import annotations

import copy
from typing import Self

import torch
from torch import nn


class Teacher(nn.Module):
    """Follow a student: theta_t <- momentum theta_t + (1 - momentum) theta_s.

    It starts as the student's copy. Buffers of floats (a norm's running mean and variance) follow
    like weights, so that they stay those of the averaged weights; whole numbers are copied. It is
    always in evaluation mode: what it says of a patch depends on no other patch of the batch.

    Args:
        student: copied, not kept.
        momentum: lambda, 0 to 1.
    """

    def __init__(self, student: nn.Module, momentum: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(student).requires_grad_(False)
        self.momentum = momentum
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever the module around it does."""
        return super().train(False)

    @torch.no_grad()
    def follow(self, student: nn.Module) -> None:
        """Take one step towards the student."""
        theirs = student.state_dict()
        for name, own in self.network.state_dict().items():
            if own.is_floating_point():
                own.lerp_(theirs[name], 1 - self.momentum)
            else:
                own.copy_(theirs[name])
