"""What decides a self-distillation, beside what decides any fit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wsikit.errors import ConfigError
from wsikit.heads.options import check_at_least


@dataclass(frozen=True)
class DistilOptions:
    """Settings of CN115482232A that it gives no numbers for; docs/self-distillation.md has ours.

    Attributes:
        share: K, the assumed share of positive patches in positive slides, 0 to 1.
        epsilon: how soft the bank's labels are, above 0; see `wsikit.heads.sinkhorn`.
        iterations: steps of Sinkhorn-Knopp at most; 100 always meet the share.
        momentum: lambda, how much of itself the teacher keeps in a step, 0 to 1.
        warm_up: first epochs in which every patch of a positive slide has the label K, as the bank
            gives it as epsilon grows; 0 for none, as in the source. Else the first labels are those
            of a network that has learnt nothing, and training keeps to them. At most a quarter of
            the epochs, whatever is asked for.
        centred: whether the bank keeps scores relative to their level when they were made.
        bank: whether labels come from the Prediction Bank; else they are the teacher's own
            probabilities, to see what the bank is worth.

    Raises:
        ConfigError: a value is out of range.
    """

    share: float = 0.3
    epsilon: float = 0.5
    iterations: int = 100
    momentum: float = 0.99
    warm_up: int = 2
    centred: bool = True
    bank: bool = True

    def __post_init__(self) -> None:
        check_number("share", self.share, 0, 1)
        check_number("epsilon", self.epsilon, 1e-6, 1000)
        check_number("momentum", self.momentum, 0, 1)
        check_at_least("iterations", self.iterations, 1)
        check_at_least("warm_up", self.warm_up, 0)
        for name in ("centred", "bank"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}", "give true or false")


@dataclass(frozen=True)
class FeatureSampling:
    """How many patches are drawn where features are learnt from.

    Attributes:
        batch_size: patches of either kind a step.
        per_slide: patches of a slide an epoch, at most, drawn anew; None for all. It bounds the
            memory of an epoch's features.

    Raises:
        ConfigError: a value is out of range.
    """

    batch_size: int = 64
    per_slide: int | None = 1024

    def __post_init__(self) -> None:
        check_at_least("batch_size", self.batch_size, 1)
        if self.per_slide is not None:
            check_at_least("per_slide", self.per_slide, 1)


def check_number(name: str, value: float, least: float, most: float) -> None:
    """Refuse what is no number, or out of range.

    Raises:
        ConfigError: `value` is not from `least` to `most`.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not least <= value <= most:
        raise ConfigError(f"{name} is {value!r}", f"give a number from {least:g} to {most:g}")
