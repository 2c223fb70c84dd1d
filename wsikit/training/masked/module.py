"""Train a UMAE to restore what was hidden from it."""

from __future__ import annotations

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, distributed

from wsikit.encoders.umae.model import UMAE
from wsikit.errors import WsikitError
from wsikit.training.bags.share import ALONE, Share
from wsikit.training.fits.module import BatchProgress, FitModule, copied_state
from wsikit.training.masked.data import MaskedBatch
from wsikit.training.masked.options import MaskedOptions


class MaskedModule(FitModule):
    """Wrap a UMAE with AdamW, the steps of its rate, and the losses of each epoch.

    Logs `train_loss` and `val_loss`, each the mean over the items of equation 11. Nothing but the
    masks is drawn, and those come with the batch.

    Args:
        model: what is trained.
        options: step size, decay and schedule.
        share: which process this is, where several train together.
        tell: as `FitModule`.
    """

    def __init__(
        self,
        model: UMAE,
        options: MaskedOptions,
        share: Share = ALONE,
        tell: BatchProgress | None = None,
    ) -> None:
        super().__init__(tell)
        self.model = model
        self._options, self._share = options, share
        self._losses: dict[str, list[Tensor]] = {"train": [], "val": []}

    def training_step(self, batch: MaskedBatch, batch_idx: int) -> Tensor:
        """Return the mean loss of the items.

        Raises:
            WsikitError: it is not finite.
        """
        return self._step(batch, "train")

    def validation_step(self, batch: MaskedBatch, batch_idx: int) -> None:
        """Measure the items.

        Raises:
            WsikitError: a loss is not finite.
        """
        self._step(batch, "val")

    def _step(self, batch: MaskedBatch, side: str) -> Tensor:
        losses: Tensor = self.model(batch.pictures, batch.masks).losses()
        if not torch.isfinite(losses).all():
            raise WsikitError(
                f"the loss is not finite in epoch {self.current_epoch + 1}", "lower pretrain.lr"
            )
        counted = losses.detach() if batch.share else losses.detach()[:0]
        self._losses[side].append(torch.stack([counted.sum(), counted.new_tensor(len(counted))]))
        return losses.mean() * batch.share  # so that the processes' mean is the step's mean

    def on_train_epoch_start(self) -> None:
        """Forget the losses of the epoch before."""
        super().on_train_epoch_start()
        self._losses = {"train": [], "val": []}

    def on_validation_epoch_end(self) -> None:
        """Log both losses, over the items of all processes."""
        for side, found in self._losses.items():
            total = torch.stack(found).sum(0)
            if self._share.processes > 1:
                distributed.all_reduce(total)
            together = self._share.processes > 1  # all measured the same; Lightning is told
            self.log(f"{side}_loss", float(total[0] / total[1]), sync_dist=together)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW and the steps of its rate; see `MaskedOptions`."""
        optimiser = torch.optim.AdamW(
            self.model.parameters(),
            lr=self._options.lr, weight_decay=self._options.weight_decay, fused=True,
        )  # fmt: skip
        steps = torch.optim.lr_scheduler.LambdaLR(optimiser, self._options.rate)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": steps, "interval": "epoch"}}

    def kept_state(self) -> dict[str, Tensor]:
        """Copy the model."""
        return copied_state(self.model)
