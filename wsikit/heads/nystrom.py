"""Self-attention approximated through landmarks: cost grows with N, not with N x N."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

RESIDUAL = 33
"""Neighbours in the sequence, itself among them, that the values are also mixed over."""


class NystromAttention(nn.Module):
    """Attend by way of landmarks (Xiong et al. 2021), with a convolution of the values added.

    With Q', K' the means of stretches of consecutive rows of Q and K,

        softmax(Q K'^T) pinv(softmax(Q' K'^T)) softmax(Q' K^T) V

    stands for softmax(Q K^T) V. Both outer products run in torch's attention kernel, which holds
    neither of them whole. Departures from the authors' code: the last stretch may be shorter,
    where that pads with zeros that then take part; the pseudo-inverse starts from each attention
    head's own norms. With no more rows than landmarks it is exact.

    Args:
        embed: width of a row; divisible by `heads`.
        heads: attention heads.
        landmarks: at most so many.
        iterations: of the pseudo-inverse.
        dropout: share of the result dropped in training.
    """

    def __init__(
        self, embed: int, heads: int, landmarks: int, iterations: int, dropout: float
    ) -> None:
        super().__init__()
        self.heads = heads
        self.landmarks = landmarks
        self.iterations = iterations
        self.qkv = nn.Linear(embed, 3 * embed, bias=False)
        self.residual = nn.Conv2d(
            heads, heads, (RESIDUAL, 1), padding=(RESIDUAL // 2, 0), groups=heads, bias=False
        )
        self.out = nn.Sequential(nn.Linear(embed, embed), nn.Dropout(dropout))

    def forward(self, rows: Tensor) -> Tensor:
        """Map (N, embed) to (N, embed)."""
        query, key, value = self._split(self.qkv(rows))  # (heads, N, d) each
        length = math.ceil(len(rows) / self.landmarks)
        some_queries, some_keys = stretch_means(query, length), stretch_means(key, length)
        between = (some_queries @ some_keys.mT / query.shape[2] ** 0.5).softmax(dim=2)
        gathered = _attend(some_queries, key, value)  # (heads, landmarks, d)
        inverted = pseudo_inverse(between, self.iterations) @ gathered
        mixed = _attend(query, some_keys, inverted)  # (heads, N, d)
        mixed = mixed + self.residual(value)
        changed: Tensor = self.out(mixed.transpose(0, 1).flatten(1))  # (N, embed)
        return changed

    def shares_of_first(self, rows: Tensor, count: int) -> Tensor:
        """Return the exact attention of row 0 to rows 1 to `count`, in the mean over heads.

        Args:
            rows: (N, embed), N > count.
            count: how many rows share.

        Returns:
            (count,), sums to one.
        """
        query, key, _ = self._split(self.qkv(rows[: count + 1]))
        scores = (query[:, :1] @ key[:, 1:].mT).squeeze(1)  # (heads, count)
        shares: Tensor = (scores / query.shape[2] ** 0.5).softmax(dim=1).mean(dim=0)
        return shares

    def _split(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        count, width = rows.shape
        split = rows.view(count, 3, self.heads, width // (3 * self.heads))
        query, key, value = split.permute(1, 2, 0, 3)  # (heads, N, embed / heads) each
        return query, key, value


def stretch_means(rows: Tensor, length: int) -> Tensor:
    """Return the means of consecutive stretches of rows.

    Args:
        rows: (heads, N, d).
        length: rows a stretch; the last may have fewer.

    Returns:
        (heads, ceil(N / length), d).
    """
    heads, count, width = rows.shape
    missing = -count % length
    stretches = functional.pad(rows, (0, 0, 0, missing)).view(heads, -1, length, width)
    counts = torch.full((stretches.shape[1], 1), length, device=rows.device, dtype=rows.dtype)
    counts[-1] = length - missing
    return stretches.sum(dim=2) / counts


def pseudo_inverse(matrices: Tensor, iterations: int) -> Tensor:
    """Approach the Moore-Penrose inverse by the iteration of Razavi et al. (2014), of third order.

    Args:
        matrices: (heads, m, m).
        iterations: 6 in Xiong et al. 2021.

    Returns:
        (heads, m, m).
    """
    size = matrices.abs()
    columns, rows = size.sum(dim=1).amax(dim=1), size.sum(dim=2).amax(dim=1)  # (heads,) each
    inverse = matrices.mT / (columns * rows)[:, None, None]
    eye = torch.eye(matrices.shape[1], device=matrices.device, dtype=matrices.dtype)
    for _ in range(iterations):
        product = matrices @ inverse
        inverse = inverse @ (13 * eye - product @ (15 * eye - product @ (7 * eye - product))) / 4
    return inverse


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(query[None], key[None], value[None]).squeeze(0)
