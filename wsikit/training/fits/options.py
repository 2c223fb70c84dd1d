"""What decides a fit, apart from the head and the bags."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from wsikit.errors import ConfigError, nearest

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
CLASS_WEIGHTS = ("balanced", "none")
PLACE = ("device", "devices")
LEAST = {"epochs": 1, "accumulate": 1, "patience": 1, "seed": 0, "devices": 1}


@dataclass(frozen=True)
class FitOptions:
    """Settings of one fit, checked when made.

    Attributes:
        epochs: at most this many passes over the training bags.
        lr: AdamW's step size.
        weight_decay: AdamW's.
        accumulate: bags per optimiser step.
        patience: stop after this many epochs without a lower validation loss.
        class_weights: `balanced` makes classes count alike in the loss, `none` slides.
        seed: of the order of the bags and of dropout; from 0.
        device: `auto`, `cpu` or `cuda`. Where it ran, not what was asked for: a fit begun on one
            device may be finished on another.
        devices: how many processes share the bags of each optimiser step, one a GPU, or on one
            processor. They end in the same weights as one, up to rounding.
        precision: Lightning's word; `16-mixed` is for a GPU only.

    Raises:
        ConfigError: a value is out of range or a word unknown, or `accumulate` bags cannot be
            dealt out evenly to the devices.
    """

    epochs: int = 30
    lr: float = 2e-4
    weight_decay: float = 1e-4
    accumulate: int = 4
    patience: int = 10
    class_weights: Literal["balanced", "none"] = "balanced"
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise ConfigError(
                    f"train.{name} is {getattr(self, name)}", f"use a whole number from {least}"
                )
        if not 0 < self.lr < float("inf"):
            raise ConfigError(f"train.lr is {self.lr}", "use a number above 0, such as 2e-4")
        if not 0 <= self.weight_decay < float("inf"):
            raise ConfigError(f"train.weight_decay is {self.weight_decay}", "use 0 or more")
        if self.accumulate % self.devices:
            raise ConfigError(
                f"train.accumulate is {self.accumulate}, which {self.devices} devices cannot share",
                f"use a multiple of {self.devices}",
            )
        check_word("train.class_weights", self.class_weights, CLASS_WEIGHTS)
        check_word("train.precision", self.precision, PRECISIONS)
        check_word("device", self.device, DEVICES)

    def recipe(self) -> dict[str, object]:
        """Return the settings that decide the outcome: all but where it is computed."""
        return without_place(asdict(self))


def without_place(settings: dict[str, object]) -> dict[str, object]:
    """Return settings without those that say where a fit is computed."""
    return {name: value for name, value in settings.items() if name not in PLACE}


def check_word(name: str, word: str, valid: tuple[str, ...]) -> None:
    """Refuse a word that is none of those that may stand there.

    Raises:
        ConfigError: it is none; the message names the nearest one.
    """
    if word not in valid:
        raise ConfigError(f"{name}: unknown word '{word}'", nearest(word, valid))
