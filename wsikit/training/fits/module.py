"""What a fit asks of the Lightning module it trains."""

from __future__ import annotations

from abc import abstractmethod

import lightning.pytorch as L
from torch import Tensor, nn


class FitModule(L.LightningModule):
    """Log `train_loss` and `val_loss` every epoch, and say what the best epoch is kept as.

    Attributes:
        val_auc: of the last validation, in full precision (Lightning logs float32); None where
            validation has one class.
        val_accuracy: of the last validation; None where it is not measured.
    """

    val_auc: float | None = None
    val_accuracy: float | None = None

    @abstractmethod
    def kept_state(self) -> dict[str, Tensor]:
        """Copy what is kept of an epoch to the CPU, sharing no memory."""


def copied_state(network: nn.Module) -> dict[str, Tensor]:
    """Copy a network's parameters and buffers to the CPU, sharing no memory."""
    return {
        name: tensor.detach().cpu().clone().contiguous()
        for name, tensor in network.state_dict().items()
    }
