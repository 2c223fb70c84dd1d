"""What decides a pre-training, apart from the model and the pictures."""

from __future__ import annotations

from dataclasses import dataclass, fields

from wsikit.errors import ConfigError
from wsikit.training.fits.options import FitOptions


@dataclass(frozen=True)
class MaskedOptions(FitOptions):
    """Settings of one pre-training, beside those of any fit.

    The source: AdamW, 1e-4, decay 0.05, 16 items a step; "every 40 epochs the learning rate drops
    by 0.01, and finally to 0", which a rate of 1e-4 cannot do. Read here as equal steps, one every
    `step_epochs`, the last of which would reach 0: of 200 epochs 40 each at 1, 0.8, 0.6, 0.4 and
    0.2 of the rate. How many epochs the source took it does not say.

    Attributes:
        batch_size: items a step, over all devices; an item is four pictures.
        step_epochs: epochs between two drops of the learning rate.
        augment: whether pictures are turned by quarters and flipped.

    Raises:
        ConfigError: a value is out of range, or the devices cannot share a step.
    """

    epochs: int = 200
    lr: float = 1e-4
    weight_decay: float = 0.05
    accumulate: int = 1
    patience: int = 1_000_000
    batch_size: int = 16
    step_epochs: int = 40
    augment: bool = True

    def __post_init__(self) -> None:
        for name in ("batch_size", "step_epochs"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"pretrain.{name} is {getattr(self, name)}", "use a whole number from 1"
                )
        if self.batch_size < self.devices:
            raise ConfigError(
                f"pretrain.batch_size is {self.batch_size}, fewer than {self.devices} devices",
                "give each device an item",
            )
        self.for_trainer()

    def rate(self, epoch: int) -> float:
        """Return the share of the learning rate at an epoch, counted from 0."""
        steps = -(-self.epochs // self.step_epochs)
        return max(0.0, 1 - epoch // self.step_epochs / steps)

    def for_trainer(self) -> FitOptions:
        """Return the settings of any fit, checked: devices share each step's items."""
        own = {field.name: getattr(self, field.name) for field in fields(FitOptions)}
        return FitOptions(**own | {"accumulate": self.devices})
