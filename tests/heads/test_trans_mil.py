from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tests.conformance.head_conformance import ring_bag
from wsikit.errors import ConfigError
from wsikit.heads.bag import Bag
from wsikit.heads.trans_mil import SquareConvolutions, TransMIL


def small() -> TransMIL:
    torch.manual_seed(0)
    return TransMIL(12, 2, embed=16, heads=2, landmarks=8).eval()


def test_convolutions_see_the_square() -> None:
    torch.manual_seed(0)
    layer = SquareConvolutions(4)
    patches = torch.randn(25, 4)
    expected = patches.clone()
    for convolution in layer.convolutions:
        reach = convolution.kernel_size[0] // 2
        padded = F.pad(patches.view(5, 5, 4), (0, 0, reach, reach, reach, reach))
        for row in range(5):
            for column in range(5):
                seen = padded[row : row + 2 * reach + 1, column : column + 2 * reach + 1]
                kernel = convolution.weight[:, 0].permute(1, 2, 0)
                expected[row * 5 + column] += (seen * kernel).sum((0, 1)) + convolution.bias
    torch.testing.assert_close(layer(patches), expected, rtol=1e-4, atol=1e-5)


def test_the_square_is_laid_out_row_by_row_and_filled_from_the_start() -> None:
    head = small()
    seen: list[torch.Tensor] = []
    head.first.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    bag = ring_bag(7)  # of 3 x 3 places, two are missing
    head(Bag(bag.features.flip(0), bag.rowcol.flip(0)))
    patches = head.project(bag.features)
    rows = torch.cat([head.token, patches, patches[:2]])
    torch.testing.assert_close(seen[0], head.first_norm(rows))


def test_the_place_matters() -> None:
    head = small()
    bag = ring_bag(9)
    moved = Bag(bag.features, bag.rowcol.flip(0))
    assert not torch.allclose(head(moved).logits, head(bag).logits)


def test_attention_belongs_to_its_patch() -> None:
    """A patch that the class token's query likes best has the largest share, wherever it stands."""
    head = small()
    bag = ring_bag(16)
    here = head(bag).attention
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    there = head(Bag(bag.features[order], bag.rowcol[order])).attention
    assert order[there.argmax()] == here.argmax()


def test_sizes_are_those_published() -> None:
    head = TransMIL(1024, 2)
    # The authors' model for 1,024 features; ours adds no parameter and leaves none out.
    projection, token, norms = 1024 * 512 + 512, 512, 3 * 2 * 512
    attention = 512 * 1536 + 512 * 512 + 512 + 8 * 33
    convolutions = 512 * (49 + 25 + 9 + 3)
    classifier = 2 * 512 + 2
    expected = projection + token + norms + 2 * attention + convolutions + classifier
    assert sum(parameter.numel() for parameter in head.parameters()) == expected == 2_672_146


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match="divisible by heads"):
        TransMIL(12, 2, embed=20, heads=8)
