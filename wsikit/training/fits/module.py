"""What a fit asks of the Lightning module it trains."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import lightning.pytorch as L
from torch import Tensor, nn

BatchProgress = Callable[[int, int], None]
"""Called with (epoch, batch) after each batch; both count from 1."""


class FitModule(L.LightningModule):
    """Log `train_loss` and `val_loss` every epoch, and say what the best epoch is kept as.

    Args:
        tell: called after each batch; those of validation follow those of training.

    Attributes:
        val_auc: of the last validation, in full precision (Lightning logs float32); None where
            validation has one class.
        val_accuracy: of the last validation; None where it is not measured.
    """

    val_auc: float | None = None
    val_accuracy: float | None = None

    def __init__(self, tell: BatchProgress | None = None) -> None:
        super().__init__()
        self._tell, self._told = tell, 0

    @abstractmethod
    def kept_state(self) -> dict[str, Tensor]:
        """Copy what is kept of an epoch to the CPU, sharing no memory."""

    def on_train_epoch_start(self) -> None:
        """Begin to count batches."""
        self._told = 0

    def on_train_batch_end(self, *_: object) -> None:
        """Tell of the batch."""
        self._count()

    def on_validation_batch_end(self, *_: object) -> None:
        """Tell of the batch."""
        self._count()

    def _count(self) -> None:
        self._told += 1
        if self._tell is not None:
            self._tell(self.current_epoch + 1, self._told)


def copied_state(network: nn.Module) -> dict[str, Tensor]:
    """Copy a network's parameters and buffers to the CPU, sharing no memory."""
    return {
        name: tensor.detach().cpu().clone().contiguous()
        for name, tensor in network.state_dict().items()
    }
