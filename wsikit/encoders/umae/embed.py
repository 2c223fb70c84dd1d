"""Cut a picture into patches and say where each lies, by 2-D sines and cosines."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.patch_embed import PatchEmbed
from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
from torch import Tensor
from torch.nn import functional as F


class SinCosEmbed(PatchEmbed):
    """Project patches to tokens and add fixed positions, in the place of timm's projection.

    The source adds the positions within its linear projection LP. They are computed and not learnt,
    so no file holds them.

    Args:
        img_size: side of the picture in pixels.
        patch_size: side of a patch.
        in_chans: channels of the picture.
        embed_dim: width of a token; a multiple of 4.
        **more: what timm tells its own projection.
    """

    positions: Tensor

    def __init__(
        self,
        img_size: int = 224,
        patch_size: int = 16,
        in_chans: int = 3,
        embed_dim: int = 768,
        **more: Any,
    ) -> None:
        super().__init__(img_size, patch_size, in_chans, embed_dim, **more)
        positions = build_sincos2d_pos_embed(self.grid_size, embed_dim)
        self.register_buffer("positions", positions, persistent=False)  # (N, embed_dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, N, embed_dim) from (B, in_chans, H, W), patches row by row."""
        tokens: Tensor = super().forward(pixels)  # type: ignore[no-untyped-call]  # as timm is
        return tokens + self.positions

    def embed_some(self, patches: Tensor, kept: Tensor) -> Tensor:
        """Project some patches of a picture.

        Args:
            patches: (..., K, P) float, pixels in the order channel, row, column.
            kept: (..., K) int64, their numbers in the picture.

        Returns:
            (..., K, embed_dim), what `forward` gives of these patches.
        """
        tokens = F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)
        return tokens + self.positions[kept]


def to_patches(pixels: Tensor, patch_px: int) -> Tensor:
    """Return (..., N, P) patches, row by row, from (..., C, H, W) pictures.

    The pixels of a patch are in the order channel, row, column.
    """
    *before, channels, height, width = pixels.shape
    rows, cols = height // patch_px, width // patch_px
    cut = pixels.reshape(*before, channels, rows, patch_px, cols, patch_px)
    cut = torch.einsum("...chpwq->...hwcpq", cut)  # (..., rows, cols, C, patch_px, patch_px)
    return cut.reshape(*before, rows * cols, channels * patch_px**2)


def to_picture(patches: Tensor, patch_px: int) -> Tensor:
    """Return (..., 3, S, S) square pictures from (..., N, P) patches; undoes `to_patches`."""
    *before, count, length = patches.shape
    side, channels = round(count**0.5), length // patch_px**2
    cut = patches.reshape(*before, side, side, channels, patch_px, patch_px)
    cut = torch.einsum("...hwcpq->...chpwq", cut)
    return cut.reshape(*before, channels, side * patch_px, side * patch_px)
