from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from wsikit.heads.nystrom import NystromAttention, pseudo_inverse, stretch_means


def dense(layer: NystromAttention, rows: torch.Tensor) -> torch.Tensor:
    """Plain attention with the layer's weights, and the convolution of the values by hand."""
    count, embed = rows.shape
    parts = []
    for head, (query, key, value) in enumerate(
        zip(
            *(part.split(embed // layer.heads, 1) for part in layer.qkv(rows).chunk(3, 1)),
            strict=True,
        )
    ):
        mixed = torch.softmax(query @ key.T / math.sqrt(embed / layer.heads), dim=1) @ value
        kernel = layer.residual.weight[head, 0, :, 0]
        for i in range(count):
            for step in range(-16, 17):
                if 0 <= i + step < count:
                    mixed[i] = mixed[i] + kernel[step + 16] * value[i + step]
        parts.append(mixed)
    return layer.out(torch.cat(parts, dim=1))


@pytest.mark.parametrize("count", [1, 2, 24])
def test_exact_with_no_more_rows_than_landmarks(count: int) -> None:
    torch.manual_seed(0)
    layer = NystromAttention(16, 2, 24, 30, 0.0).eval()
    rows = torch.randn(count, 16)
    with torch.no_grad():
        torch.testing.assert_close(layer(rows), dense(layer, rows), rtol=1e-3, atol=1e-4)


def test_near_the_truth_with_fewer() -> None:
    torch.manual_seed(0)
    layer = NystromAttention(16, 2, 32, 6, 0.0).eval()
    rows = torch.randn(8, 16).repeat_interleave(25, dim=0) + 0.1 * torch.randn(200, 16)
    with torch.no_grad():
        torch.testing.assert_close(layer(rows), dense(layer, rows), rtol=0, atol=0.02)


def test_against_torchmil_where_nothing_is_padded() -> None:
    theirs = pytest.importorskip("torchmil.nn").NystromAttention(
        16, n_heads=1, n_landmarks=8, att_dim=16
    )
    ours = NystromAttention(16, 1, 8, 6, 0.0).eval()
    ours.qkv.load_state_dict(theirs.qkv_nn.state_dict())
    torch.nn.init.zeros_(ours.residual.weight)  # which theirs leaves out
    ours.out = torch.nn.Sequential()
    rows = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(rows), theirs(rows[None])[0], rtol=1e-4, atol=1e-5)


def test_pseudo_inverse_against_numpy() -> None:
    torch.manual_seed(0)
    matrices = torch.randn(3, 9, 9).softmax(dim=2).double()
    expected = np.linalg.pinv(matrices.numpy())
    np.testing.assert_allclose(pseudo_inverse(matrices, 40), expected, rtol=1e-6, atol=1e-8)


def test_pseudo_inverse_of_equal_rows() -> None:
    matrix = torch.full((1, 6, 6), 1 / 6, dtype=torch.float64)
    np.testing.assert_allclose(pseudo_inverse(matrix, 6), np.linalg.pinv(matrix.numpy()), atol=1e-9)


@pytest.mark.parametrize(("count", "length"), [(1, 1), (7, 3), (9, 3), (5, 8)])
def test_stretch_means_against_slices(count: int, length: int) -> None:
    rows = torch.randn(2, count, 4)
    expected = [rows[:, i : i + length].mean(dim=1) for i in range(0, count, length)]
    torch.testing.assert_close(stretch_means(rows, length), torch.stack(expected, dim=1))


def test_shares_of_first_against_the_formula() -> None:
    torch.manual_seed(0)
    layer = NystromAttention(16, 2, 4, 6, 0.0)
    rows = torch.randn(12, 16)
    with torch.no_grad():
        query, key, _ = layer.qkv(rows[:9]).chunk(3, dim=1)
        each = [query[0, s] @ key[1:, s].T / 8**0.5 for s in (slice(0, 8), slice(8, 16))]
        expected = torch.stack([scores.softmax(dim=0) for scores in each]).mean(dim=0)
        torch.testing.assert_close(layer.shares_of_first(rows, 8), expected)
