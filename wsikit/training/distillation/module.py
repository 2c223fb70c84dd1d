"""Train a student by its teacher, the Prediction Bank and the patches of negative slides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from wsikit.errors import WsikitError
from wsikit.heads.instance import LEAST
from wsikit.heads.instance_pool import InstancePool
from wsikit.heads.prediction_bank import PredictionBank
from wsikit.training.bags.module import seed_device, step_seed
from wsikit.training.distillation.data import NEGATIVE, DistilBatch, bank_starts
from wsikit.training.distillation.options import DistilOptions
from wsikit.training.distillation.teacher import Teacher
from wsikit.training.distillation.views import View
from wsikit.training.fits.module import BatchProgress, FitModule, copied_state
from wsikit.training.fits.options import FitOptions
from wsikit.training.metrics.metrics import auc
from wsikit.training.patches.plan import PatchSlide

TIE = 0.01
"""What cross-entropy counts where slides are in order already."""

WARM_UP_PART = 4
"""At most one epoch in so many is warm-up: a fit that only warms up learns nothing."""

Score = Callable[[nn.Module, Tensor], Tensor]
"""Run a network, the student's or the teacher's: patches in, (B, 2) logits out."""


class Student(NamedTuple):
    """What is trained, and how.

    Attributes:
        network: changed in place; its copy becomes the teacher.
        score: how either is run.
        view: draws a view of patches.
        begin_epoch: called when an epoch begins, the network being in training mode.
    """

    network: nn.Module
    score: Score
    view: View
    begin_epoch: Callable[[], object] = lambda: None


class DistilModule(FitModule):
    """Wrap student, teacher and bank; one step is CN115482232A's S1 to S4.

    Two views are drawn of the patches of positive slides. The teacher scores the first, the scores
    go into the bank, and the bank gives labels. The student is taught these on the second view, and
    label 0 on a view of as many patches of negative slides:

        L = CE(student(view 2), label of the bank) + CE(student(negative patch), 0)

    In the first epochs (`warm_up`) the bank fills but has no say, and every patch of a positive
    slide is labelled K. Then the teacher moves towards the student. The student sees both kinds of
    patch in one batch, so that no norm can tell them apart by its batch.

    Logs `train_loss` every epoch, and over validation *slides* `val_auc` and `val_loss`. The latter
    chooses the best epoch: the share of pairs of a positive and a negative slide that their pooled
    probabilities put in the wrong order, plus a hundredth of their cross-entropy, by which epochs
    are told apart that order them alike. Cross-entropy alone would choose badly: nothing in
    training sets the level of a slide's pooled probability, only that of its patches.

    Args:
        student: what is trained.
        slides: the training side, which says who has a place in the bank.
        val_slides: the validation side.
        options: AdamW's step size and weight decay (without decay that is Adam, as in the source),
            the seed, and the classes' weights in `val_loss`.
        distil: share, epsilon, momentum and so on.
        pool: how patches make a validation slide.
        tell: as `FitModule`.
    """

    def __init__(
        self,
        student: Student,
        slides: Sequence[PatchSlide],
        val_slides: Sequence[PatchSlide],
        options: FitOptions,
        distil: DistilOptions,
        pool: InstancePool,
        tell: BatchProgress | None = None,
    ) -> None:
        super().__init__(tell)
        self.student = student.network
        self.teacher = Teacher(student.network, distil.momentum)
        self.bank = PredictionBank(
            int(bank_starts(slides)[-1]),
            distil.share, distil.epsilon, distil.iterations, distil.centred,
        )  # fmt: skip
        _, self._score, self._view, self._begin_epoch = student
        self._options, self._distil, self._pool = options, distil, pool
        self._warm_up = min(distil.warm_up, options.epochs // WARM_UP_PART)
        self._val_labels = torch.tensor([slide.label for slide in val_slides])
        self._scored: list[tuple[Tensor, Tensor]] = []

    def training_step(self, batch: DistilBatch, batch_idx: int) -> Tensor:
        """Return the sum of the two losses.

        Raises:
            WsikitError: it is not finite.
        """
        seed = step_seed(self._options.seed, self.current_epoch, batch_idx)
        seed_device(seed, self.device)  # dropout
        views = torch.Generator().manual_seed(seed)
        positive = batch.positions != NEGATIVE
        labels = self._labels(batch.patches[positive], batch.positions[positive], views)
        margins = _margins(self._score(self.student, self._view(batch.patches, views)))
        learnt, guided = margins[positive], margins[~positive]
        by_bank = functional.binary_cross_entropy_with_logits(learnt, labels)
        by_negatives = functional.softplus(guided).mean()  # cross-entropy with label 0
        loss = by_bank + by_negatives
        self._check_finite(loss)
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    @torch.no_grad()
    def _labels(self, patches: Tensor, positions: Tensor, views: Generator) -> Tensor:
        """Have the teacher and the bank label patches of positive slides."""
        margins = _margins(self._score(self.teacher.network, self._view(patches, views)))
        self._check_finite(margins)
        if not self._distil.bank:
            return margins.sigmoid()
        labels = self.bank.update(positions, margins)
        if self.current_epoch < self._warm_up:
            return torch.full_like(labels, self._distil.share)
        return labels

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Let the teacher follow each step of the student."""
        super().optimizer_step(*args, **kwargs)
        self.teacher.follow(self.student)

    def on_validation_epoch_start(self) -> None:
        """Forget the scores of the epoch before."""
        self._scored.clear()

    def validation_step(self, batch: DistilBatch, batch_idx: int) -> None:
        """Score patches of validation slides, as they are."""
        logits = self._score(self.student, batch.patches).float()
        self._scored.append((batch.slides.cpu(), torch.softmax(logits, dim=-1).cpu()))

    def on_validation_epoch_end(self) -> None:
        """Pool the patches of each slide and log how well the slides are told apart.

        Raises:
            WsikitError: a score is not finite.
        """
        slides, scores = (torch.cat(parts) for parts in zip(*self._scored, strict=True))
        pooled = torch.stack(
            [self._pool.pooled(scores[slides == n]) for n in range(len(self._val_labels))]
        )
        own = pooled.gather(1, self._val_labels[:, None]).squeeze(1)
        loss = -(self._val_weights() * own.clamp_min(LEAST).log()).mean()
        self._check_finite(loss)
        self.val_auc = auc(self._val_labels.numpy(), pooled.numpy())
        if self.val_auc is not None:
            self.log("val_auc", self.val_auc)
            loss = 1 - self.val_auc + TIE * loss
        self.log("val_loss", loss)

    def _val_weights(self) -> Tensor:
        """Weigh validation slides so that classes that occur count alike, where that is asked."""
        if self._options.class_weights == "none":
            return torch.ones(len(self._val_labels))
        counts = torch.bincount(self._val_labels, minlength=2)
        weights = len(self._val_labels) / (counts.count_nonzero() * counts)
        return weights[self._val_labels]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW over the student's parameters that are not frozen."""
        trained = [p for p in self.student.parameters() if p.requires_grad]
        return torch.optim.AdamW(
            trained, lr=self._options.lr, weight_decay=self._options.weight_decay, fused=True
        )

    def kept_state(self) -> dict[str, Tensor]:
        """Copy the student."""
        return copied_state(self.student)

    def on_train_epoch_start(self) -> None:
        """Keep frozen layers as they are."""
        super().on_train_epoch_start()
        self._begin_epoch()

    def _check_finite(self, numbers: Tensor) -> None:
        if not torch.isfinite(numbers).all():
            raise WsikitError(
                f"scores of patches are not finite in epoch {self.current_epoch + 1}",
                "lower train.lr",
            )


def _margins(logits: Tensor) -> Tensor:
    """Return (B,) float32 log odds of being positive from (B, 2) logits."""
    whole = logits.float()
    return whole[:, 1] - whole[:, 0]
