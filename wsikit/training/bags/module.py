"""Train a head on one bag a step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, distributed
from torch.nn import functional

from wsikit.errors import WsikitError
from wsikit.heads.bag import Head
from wsikit.training.bags.bags import LabelledBag
from wsikit.training.bags.share import ALONE, Share
from wsikit.training.fits.module import FitModule, copied_state
from wsikit.training.metrics.metrics import auc


class BagModule(FitModule):
    """Wrap a head with a loss, an optimiser and what is measured each epoch.

    The loss is the head's own (`Head.training_loss`; cross-entropy unless it says otherwise) times
    the weight of the bag's class; validation measures cross-entropy, weighed alike. (Passing the
    weights to `cross_entropy` would do nothing: its mean divides by them again, and a batch is one
    bag.)
    Logs `train_loss`, `val_loss` and, where validation has two classes, `val_auc` every epoch.

    Args:
        head: the network.
        lr: AdamW's step size (Loshchilov and Hutter 2019).
        weight_decay: AdamW's.
        class_weights: one factor a class; None for 1 throughout.
        seed: random numbers of a step (dropout) follow from it, the epoch and the step alone, so
            that a resumed fit draws what an undisturbed one would have drawn.
        share: which process this is, where several train together (`share.py`).
        train_bags: how many bags all of them learn from in an epoch.
        val_bags: how many bags all of them are judged by.
    """

    def __init__(
        self,
        head: Head,
        lr: float,
        weight_decay: float,
        class_weights: Sequence[float] | None,
        seed: int,
        share: Share = ALONE,
        train_bags: float = math.inf,
        val_bags: int | None = None,
    ) -> None:
        super().__init__()
        self.head = head
        self.lr = lr
        self.weight_decay = weight_decay
        self.class_weights = class_weights
        self.seed = seed
        self.share = share
        self.train_bags = train_bags
        self.val_bags = val_bags
        self._val_labels: list[Tensor] = []
        self._val_losses: list[Tensor] = []
        self._val_probabilities: list[Tensor] = []

    def training_step(self, batch: LabelledBag, batch_idx: int) -> Tensor:
        """Return the loss of one bag.

        Raises:
            WsikitError: the loss is not finite.
        """
        place = self.share.place(batch_idx)
        seed_device(step_seed(self.seed, self.current_epoch, place), self.device)
        loss = self._weighed(self.head.training_loss(batch.bag, self._target(batch)), batch)
        counts = int(place < self.train_bags)
        self.log(
            "train_loss", loss.detach(),
            on_step=False, on_epoch=True, sync_dist=self.share.processes > 1,
            # Lightning takes the mean of the processes' counts as a whole number.
            batch_size=counts * self.share.processes,
        )  # fmt: skip
        return loss * counts if self.share.processes > 1 else loss

    def on_validation_epoch_start(self) -> None:
        """Forget the scores of the epoch before."""
        self._val_labels.clear()
        self._val_losses.clear()
        self._val_probabilities.clear()

    def validation_step(self, batch: LabelledBag, batch_idx: int) -> None:
        """Score one bag of the validation side.

        Raises:
            WsikitError: the loss is not finite.
        """
        logits = self.head(batch.bag).logits
        target = self._target(batch)
        self._val_losses.append(
            self._weighed(functional.cross_entropy(logits.float(), target), batch)
        )
        self._val_labels.append(target)
        self._val_probabilities.append(torch.softmax(logits.float(), dim=-1))

    def on_validation_epoch_end(self) -> None:
        """Log the mean loss, and the area under the ROC curve where it is defined."""
        together = self.share.processes > 1  # all measure the same; Lightning wants to be told
        # As a number, which Lightning puts on the device that the processes talk through.
        self.log("val_loss", float(self._of_all(self._val_losses).mean()), sync_dist=together)
        labels, probabilities = (
            self._of_all(self._val_labels),
            self._of_all(self._val_probabilities),
        )
        self.val_auc = auc(labels.numpy(), probabilities.numpy())
        if self.val_auc is not None:
            self.log("val_auc", self.val_auc, sync_dist=together)

    def _of_all(self, own: list[Tensor]) -> Tensor:
        """Gather what every process measured, on the CPU, in the order of the validation side."""
        stacked = torch.stack(own)  # (steps, ...)
        if self.share.processes > 1:
            every = [torch.empty_like(stacked) for _ in range(self.share.processes)]
            distributed.all_gather(every, stacked)
            stacked = torch.stack(every, dim=1).flatten(0, 1)  # (steps * processes, ...)
        return stacked[: self.val_bags].cpu()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW over all parameters."""
        return torch.optim.AdamW(self.head.parameters(), lr=self.lr, weight_decay=self.weight_decay)

    def kept_state(self) -> dict[str, Tensor]:
        """Copy the head."""
        return copied_state(self.head)

    def transfer_batch_to_device(
        self, batch: LabelledBag, device: torch.device, dataloader_idx: int
    ) -> LabelledBag:
        """Move the bag; Lightning cannot take a frozen dataclass apart."""
        return batch._replace(bag=batch.bag.to(device))

    def _target(self, batch: LabelledBag) -> Tensor:
        return torch.tensor(batch.label, device=self.device)

    def _weighed(self, loss: Tensor, batch: LabelledBag) -> Tensor:
        loss = loss * (1.0 if self.class_weights is None else self.class_weights[batch.label])
        if not torch.isfinite(loss):
            raise WsikitError(
                f"the loss of slide '{batch.slide_id}' is not finite in epoch "
                f"{self.current_epoch + 1}",
                "lower train.lr, or check that slide's features",
            )
        return loss


def balanced_weights(labels: Sequence[int], classes: int) -> list[float]:
    """Weigh classes so that each adds the same to the loss: N / (classes * count).

    Args:
        labels: class numbers of the training side.
        classes: how many classes there are.

    Raises:
        WsikitError: a class has no slide, so its weight would be infinite.
    """
    counts = np.bincount(np.asarray(labels, dtype=np.int64), minlength=classes)
    if not counts.all():
        raise WsikitError(
            f"class number {int(counts.argmin())} has no training slide",
            "split the cohort so that every class is in train",
        )
    return [float(len(labels) / (classes * count)) for count in counts]


def seed_device(seed: int, device: torch.device) -> None:
    """Seed what a head draws from on `device`.

    `torch.manual_seed` seeds every kind of accelerator there is, and for each not yet in use
    records a stack trace: 2 ms, every step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def step_seed(seed: int, epoch: int, step: int) -> int:
    """Mix three numbers into one seed; neighbours give unrelated random numbers."""
    return int(np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)[0] >> 1)
