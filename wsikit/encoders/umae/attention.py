"""Where a vision transformer's global token looks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wsikit.encoders.network import Encoder


@torch.inference_mode()
def global_attention(encoder: Encoder, normalised: Tensor) -> Tensor:
    """Return how the global token of the last block shares its attention among the patches.

    Args:
        encoder: a timm vision transformer with a class token, in evaluation mode.
        normalised: (B, 3, input_px, input_px) float32, as its backbone sees them.

    Returns:
        (B, rows, cols) float32, the mean over the heads; each map sums to what the global token
        does not keep to itself.
    """
    network: Any = encoder.backbone
    tokens = network.norm_pre(network._pos_embed(network.patch_embed(normalised)))
    for block in network.blocks[:-1]:
        tokens = block(tokens)
    attend = network.blocks[-1].attn
    qkv = attend.qkv(network.blocks[-1].norm1(tokens))  # (B, 1 + N, 3 width)
    query, key, _ = qkv.reshape(*qkv.shape[:2], 3, attend.num_heads, -1).permute(2, 0, 3, 1, 4)
    scores = query[:, :, :1] @ key.transpose(-2, -1) * attend.scale  # (B, heads, 1, 1 + N)
    shares: Tensor = scores.softmax(-1).mean(1)[:, 0, 1:].float()
    return shares.reshape(len(shares), *network.patch_embed.grid_size)
