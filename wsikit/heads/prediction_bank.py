"""The Prediction Bank: the latest score of every patch of the positive slides."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wsikit.heads.sinkhorn import label_offset, soft_labels

SMOOTH = 0.9
"""How much of itself the level keeps in a step: it is the mean of about ten batches."""


class PredictionBank(nn.Module):
    """Remember scores of patches, and give labels of which a set share is positive.

    Self-distillation that is guided by negative patches alone has a way out: call everything
    negative. The bank closes it (CN115482232A): over all patches of positive slides, a share of the
    labels must be positive, and it goes to the patches that the teacher finds most so.

    Memory: 4 bytes a patch, once in the bank and once in a checkpoint; 32 more for a moment while
    labels are worked out. A million patches take 4 MB. It is a module without parameters, so that
    its state lies in the checkpoint with the weights, and a resumed training finds it bit for bit.

    The source keeps an output of every patch and does not say what stands there before the first.
    Here a patch takes part once it was scored. And scores are kept relative to their level when
    they were made, a running mean over batches. Negative patches push the level down all the time:
    in a bank of plain scores those of today rank below those of last epoch, get no positive labels,
    and sink further. `centred=False` keeps plain scores, as the source has it.

    Args:
        patches: how many there are.
        share: the assumed share K of positive ones, 0 to 1.
        epsilon: of the entropy; see `label_offset`.
        iterations: steps at most; see `label_offset`.
        centred: whether scores are kept relative to their level.
    """

    logits: Tensor
    offset: Tensor
    level: Tensor

    def __init__(
        self, patches: int, share: float, epsilon: float, iterations: int, centred: bool = True
    ) -> None:
        super().__init__()
        self.share = share
        self.epsilon = epsilon
        self.iterations = iterations
        self.register_buffer("logits", torch.full((patches,), torch.nan))
        self.register_buffer("offset", torch.zeros((), dtype=torch.float64))
        self.register_buffer("level", torch.tensor(torch.nan if centred else 0.0))
        self.centred = centred

    @torch.no_grad()
    def update(self, positions: Tensor, logits: Tensor) -> Tensor:
        """Put new scores in their places, and solve for the labels of all.

        Labels follow from a patch's score and one offset for all, so only those asked for are
        written out.

        Args:
            positions: (B,) int64, which patches; none twice.
            logits: (B,) finite floats, their log odds of being positive.

        Returns:
            (B,) float32 in 0..1, the labels of these patches.
        """
        now = logits.float()
        if self.centred:
            mean = now.mean()
            # The first batch sets the level.
            self.level.copy_(
                torch.where(self.level.isnan(), mean, self.level.lerp(mean, 1 - SMOOTH))
            )
            now = now - self.level
        self.logits[positions] = now
        scored = self.logits[~self.logits.isnan()]
        # From the last step's answer: few scores have changed, so it is near.
        start = float(self.offset) if self.offset.isfinite() else 0.0
        offset = label_offset(scored, self.share, self.epsilon, self.iterations, start)
        self.offset.fill_(offset)
        return soft_labels(now, self.epsilon, self.offset).float()
