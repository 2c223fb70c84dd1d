"""Train an encoder and a classifier on patches, one batch a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wsikit.errors import WsikitError
from wsikit.training.bags.module import seed_device, step_seed
from wsikit.training.fits.module import BatchProgress, FitModule, copied_state
from wsikit.training.metrics.metrics import auc
from wsikit.training.patches.data import PatchBatch
from wsikit.training.patches.network import PatchNetwork
from wsikit.training.patches.optimiser import Optimiser


class PatchModule(FitModule):
    """Wrap a network with an optimiser and what is measured each epoch.

    The loss of a batch is the mean over its patches of loss times weight of class. Logs
    `train_loss`, `val_loss` and, where validation has two classes, `val_auc` every epoch; the
    last two over all validation patches, against the labels of their slides.

    Args:
        network: the encoder and its classifier.
        optimiser: which, and how it steps.
        class_weights: one factor a class.
        seed: random numbers of a step (dropout) follow from it, the epoch and the step alone.
        tell: as `FitModule`.
        rate: asked for the learning rate before each epoch; None: it stays as it is.
    """

    def __init__(
        self,
        network: PatchNetwork,
        optimiser: Optimiser,
        class_weights: Sequence[float],
        seed: int,
        tell: BatchProgress | None = None,
        rate: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(tell)
        self.network = network
        self.optimiser = optimiser
        self.seed = seed
        self._rate = rate
        self.register_buffer("class_weights", torch.tensor(class_weights), persistent=False)
        self._val_labels: list[Tensor] = []
        self._val_probabilities: list[Tensor] = []

    def on_train_epoch_start(self) -> None:
        """Keep frozen layers as they are, and set the learning rate."""
        super().on_train_epoch_start()
        self.network.hold_frozen()
        if self._rate is not None:
            for optimiser in self.trainer.optimizers:
                for group in optimiser.param_groups:
                    group["lr"] = self._rate()

    def training_step(self, batch: PatchBatch, batch_idx: int) -> Tensor:
        """Return the loss of one batch.

        Raises:
            WsikitError: the loss is not finite.
        """
        seed_device(step_seed(self.seed, self.current_epoch, batch_idx), self.device)
        loss = self._weighted(self.network.loss(batch.pixels, batch.labels), batch)
        self._log("train_loss", loss.detach(), batch)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the scores of the epoch before."""
        self._val_labels.clear()
        self._val_probabilities.clear()

    def validation_step(self, batch: PatchBatch, batch_idx: int) -> None:
        """Score one batch of the validation side.

        Raises:
            WsikitError: the loss is not finite.
        """
        features = self.network.encoder(batch.pixels)
        losses = self.network.classifier.loss(features, batch.labels)
        self._log("val_loss", self._weighted(losses, batch), batch)
        scores = torch.softmax(self.network.classifier(features).float(), dim=-1)
        self._val_labels.append(batch.labels.cpu())
        self._val_probabilities.append(scores.cpu())

    def on_validation_epoch_end(self) -> None:
        """Log the area under the ROC curve, where it is defined, and the accuracy."""
        labels, scores = torch.cat(self._val_labels), torch.cat(self._val_probabilities)
        self.val_accuracy = float((scores.argmax(dim=1) == labels).double().mean())
        self.val_auc = auc(labels.numpy(), scores.numpy())
        if self.val_auc is not None:
            self.log("val_auc", self.val_auc)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser over all parameters that are not frozen."""
        return self.optimiser.over([p for p in self.network.parameters() if p.requires_grad])

    def kept_state(self) -> dict[str, Tensor]:
        """Copy the network."""
        return copied_state(self.network)

    def _weighted(self, losses: Tensor, batch: PatchBatch) -> Tensor:
        if not torch.isfinite(losses).all():
            slide_id = batch.slide_ids[int(torch.argmin(torch.isfinite(losses).int()))]
            raise WsikitError(
                f"the loss of a patch of slide '{slide_id}' is not finite in epoch "
                f"{self.current_epoch + 1}",
                "lower train.lr",
            )
        weights = self.get_buffer("class_weights")[batch.labels]
        return (weights * losses).mean()

    def _log(self, name: str, loss: Tensor, batch: PatchBatch) -> None:
        self.log(name, loss, on_step=False, on_epoch=True, batch_size=len(batch.labels))
