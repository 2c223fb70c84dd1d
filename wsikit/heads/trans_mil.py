"""TransMIL: two layers of self-attention around convolutions over the patches in a square."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from wsikit.errors import ConfigError
from wsikit.heads.bag import Bag, BagScores, Head
from wsikit.heads.nystrom import NystromAttention
from wsikit.heads.options import check_at_least, check_share
from wsikit.heads.position import raster_index
from wsikit.heads.standardise import Standardise

KERNELS = (7, 5, 3)


class SquareConvolutions(nn.Module):
    """Add to each patch what depthwise convolutions see of its surroundings in the square (PPEG).

    Args:
        embed: width of a patch's vector.
    """

    def __init__(self, embed: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(embed, embed, kernel, padding=kernel // 2, groups=embed) for kernel in KERNELS
        )

    def forward(self, patches: Tensor) -> Tensor:
        """Map (side * side, embed) to the same shape."""
        side = math.isqrt(len(patches))
        square = patches.T.reshape(1, -1, side, side)
        total: Tensor = square + sum(convolution(square) for convolution in self.convolutions)
        return total.flatten(2).squeeze(0).T


class TransMIL(Head):
    """Let a class token gather the slide through two layers of approximate self-attention.

    Shao et al. 2021, with the published sizes: project, lay the patches out as a square, put a
    class token in front, attend (Nystrom), convolve over the square (PPEG), attend again, classify
    the token. Departures: features are standardised first; patches are ordered row by row as they
    lie in the slide before they are laid out, so that the order in the store does not matter; see
    `nystrom` for those of the attention.

    It scores no patch by itself, so `patch_logits` is None. `attention` is the attention the class
    token pays each patch in the last layer, computed exactly and averaged over heads; the slide is
    not their weighted mean, as the layers mix patches.

    torchmil 1.0.2 has a TransMIL, which is not used here: it tells two classes apart and no more,
    leaves out the convolution of the values, has parameters that no gradient reaches, and forms an
    N x N matrix where attention is asked for; `torchmil:TransMIL` reaches it.

    Args:
        in_features: width D of a feature vector.
        classes: number of classes, at least 2.
        embed: width of a patch's vector; divisible by `heads`.
        heads: attention heads.
        landmarks: of the attention; cost grows with N times this.
        iterations: of its pseudo-inverse.
        dropout: share of each attention's result dropped in training.
    """

    score_kind = "attention"

    def __init__(
        self,
        in_features: int,
        classes: int,
        *,
        embed: int = 512,
        heads: int = 8,
        landmarks: int = 256,
        iterations: int = 6,
        dropout: float = 0.1,
    ) -> None:
        check_at_least("in_features", in_features, 1)
        check_at_least("classes", classes, 2)
        check_at_least("embed", embed, 1)
        check_at_least("heads", heads, 1)
        check_at_least("landmarks", landmarks, 1)
        check_at_least("iterations", iterations, 1)
        check_share("dropout", dropout)
        if embed % heads:
            raise ConfigError(f"embed is {embed} with {heads} heads", "make it divisible by heads")
        super().__init__()
        self.standardise = Standardise(in_features)
        self.project = nn.Sequential(nn.Linear(in_features, embed), nn.ReLU())
        self.token = nn.Parameter(torch.randn(1, embed))
        self.first_norm, self.second_norm = nn.LayerNorm(embed), nn.LayerNorm(embed)
        self.first = NystromAttention(embed, heads, landmarks, iterations, dropout)
        self.second = NystromAttention(embed, heads, landmarks, iterations, dropout)
        self.convolutions = SquareConvolutions(embed)
        self.classifier = nn.Sequential(nn.LayerNorm(embed), nn.Linear(embed, classes))

    def forward(self, bag: Bag) -> BagScores:
        """Score one bag of N >= 1 patches."""
        count = len(bag.features)
        order = raster_index(bag.rowcol).argsort(stable=True)
        patches = self.project(self.standardise(bag.features[order]))  # (N, embed)
        missing = math.ceil(math.sqrt(count)) ** 2 - count
        rows = torch.cat([self.token, patches, patches[:missing]])  # (1 + side * side, embed)
        rows = rows + self.first(self.first_norm(rows))
        rows = torch.cat([rows[:1], self.convolutions(rows[1:])])
        normed = self.second_norm(rows)
        with torch.no_grad():
            shares = self.second.shares_of_first(normed, count)  # (N,)
        logits = self.classifier((rows + self.second(normed))[0])  # (C,)
        return BagScores(logits, attention=torch.empty_like(shares).index_copy(0, order, shares))
