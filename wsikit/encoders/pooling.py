"""From a vision transformer's tokens to one vector, where timm's own way is not the one meant."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

HEADS = 8


class ClassAndMean(nn.Module):
    """Put the class token and the mean of the patch tokens side by side.

    Register tokens are left out. This is what the authors of Virchow (Vorontsov et al. 2024) use.
    Tensors keep the names they have in the backbone's own file.

    Args:
        trunk: a timm vision transformer of width W with a class token.
    """

    def __init__(self, trunk: Any) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, 2 W) float from (B, 3, H, W) float."""
        tokens = self.trunk.forward_features(pixels)  # (B, prefix + patches, W)
        patches = tokens[:, self.trunk.num_prefix_tokens :]
        return torch.cat([tokens[:, 0], patches.mean(1)], dim=1)  # (B, 2 W)


class AttentionPooled(nn.Module):
    """Pool the tokens by the attention of one learnt query, as CONCH's contrastive branch does.

    Lu et al. (2024) follow CoCa (Yu et al. 2022). The projection into the space shared with text is
    left out, as the authors do for tasks on images alone.

    Args:
        trunk: a timm vision transformer of width W.
        features: width of the pooled vector.
    """

    def __init__(self, trunk: Any, features: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.attn_pool_contrast = _Query(features, trunk.num_features)
        self.ln_contrast = nn.LayerNorm(features)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, features) float from (B, 3, H, W) float."""
        tokens = self.trunk.forward_features(pixels)  # (B, T, W)
        pooled: Tensor = self.ln_contrast(self.attn_pool_contrast(tokens))  # (B, features)
        return pooled


class _Query(nn.Module):
    """Let one query attend to tokens of another width; tensors named as in CONCH's file."""

    def __init__(self, features: int, token_width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, features))
        self.attn = nn.MultiheadAttention(
            features, HEADS, kdim=token_width, vdim=token_width, batch_first=True
        )
        self.ln_q = nn.LayerNorm(features)
        self.ln_k = nn.LayerNorm(token_width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, features) from (B, T, token_width)."""
        tokens = self.ln_k(tokens)
        query = self.ln_q(self.query).expand(len(tokens), 1, -1)  # (B, 1, features)
        answer: Tensor = self.attn(query, tokens, tokens, need_weights=False)[0]
        return answer[:, 0]
