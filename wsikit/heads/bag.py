"""What goes into a head and what comes out: the one interface of every MIL method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsikit.types import ScoreKind


@dataclass(frozen=True)
class Bag:
    """All patches of one slide.

    Attributes:
        features: (N, D) float32, or float16 as a store may have them: half the memory, and half the
            way to a GPU. A head makes them float32 first (`Standardise` does).
        rowcol: (N, 2) int64, the patch's row and column in the slide's grid.
        edge_index: (2, E) int64, source and target patch of each edge; None where the head asks
            for no graph.
    """

    features: Tensor
    rowcol: Tensor
    edge_index: Tensor | None = None

    def to(self, device: torch.device | str) -> Bag:
        """Return the same bag on another device."""
        edges = None if self.edge_index is None else self.edge_index.to(device)
        return Bag(self.features.to(device), self.rowcol.to(device), edges)


class BagScores(NamedTuple):
    """What a head says of one slide.

    Attributes:
        logits: (C,) float32, unnormalised class scores of the slide.
        patch_logits: (N, C) float32, the head's class scores of each patch alone; None where it
            has none.
        attention: (N,) float32, the share of each patch in the pooled slide; sums to one. None
            where the head pools without shares.
    """

    logits: Tensor
    patch_logits: Tensor | None = None
    attention: Tensor | None = None


class Head(nn.Module, ABC):
    """Turn a bag into slide scores. Knows nothing of files, configuration or the command line.

    Attributes:
        needs_graph: whether `Bag.edge_index` must be given.
        score_kind: what the patch score shown in a heatmap means for this head: `probability` by
            `BagScores.patch_logits`, or, where it has none, `attention`; None where it scores no
            patch.
    """

    needs_graph: ClassVar[bool] = False
    score_kind: ClassVar[ScoreKind | None] = "probability"

    @abstractmethod
    def forward(self, bag: Bag) -> BagScores:
        """Score one bag of N >= 1 patches."""

    def training_loss(self, bag: Bag, label: Tensor) -> Tensor:
        """Return what training makes small: here the cross-entropy of the slide's logits.

        Args:
            bag: one slide.
            label: () int64, its class.

        Returns:
            () float32. A head with further terms adds them; validation looks at the slide's
            cross-entropy alone, so that heads can be compared.
        """
        return functional.cross_entropy(self(bag).logits.float(), label)
