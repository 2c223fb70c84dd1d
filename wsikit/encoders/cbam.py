"""CBAM, the Convolutional Block Attention Module (Woo, Park, Lee and Kweon 2018), on a network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

REDUCTION = 16
"""Channels a hidden unit stands for. The source of method D says r and no number; Woo et al. 16."""

KERNEL = 7


class ChannelAttention(nn.Module):
    """Weigh channels: M_c = sigmoid(W1 relu(W0 mean(F)) + W1 relu(W0 max(F))).

    Both poolings share the two layers, which have no bias, as the formula has none.

    Args:
        channels: number C of channels.
        reduction: r; the hidden layer has C / r units, and one at least.
    """

    def __init__(self, channels: int, reduction: int = REDUCTION) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.shrink = nn.Linear(channels, hidden, bias=False)
        self.grow = nn.Linear(hidden, channels, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, C, 1, 1) weights from 0 to 1 of (B, C, H, W) maps."""
        pooled = torch.stack([maps.mean((2, 3)), maps.amax((2, 3))])  # (2, B, C)
        scores = self.grow(torch.relu(self.shrink(pooled))).sum(0)  # (B, C)
        return torch.sigmoid(scores)[:, :, None, None]  # (B, C, 1, 1)


class SpatialAttention(nn.Module):
    """Weigh places: M_s = sigmoid(conv7x7([mean over channels; max over channels])).

    The convolution has neither bias nor norm, as the formula has none. timm's has a batch norm
    behind it, as the authors' own code does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, KERNEL, padding=KERNEL // 2, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (B, 1, H, W) weights from 0 to 1 of (B, C, H, W) maps."""
        pooled = torch.cat([maps.mean(1, True), maps.amax(1, True)], dim=1)  # (B, 2, H, W)
        return torch.sigmoid(self.conv(pooled))  # (B, 1, H, W)


class Cbam(nn.Module):
    """Weigh channels, then places: F' = M_c(F) F, F'' = M_s(F') F'.

    Args:
        channels: of the maps.
        reduction: see `ChannelAttention`.
    """

    def __init__(self, channels: int, reduction: int = REDUCTION) -> None:
        super().__init__()
        self.channel = ChannelAttention(channels, reduction)
        self.spatial = SpatialAttention()

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the same shape, (B, C, H, W)."""
        maps = maps * self.channel(maps)
        refined: Tensor = maps * self.spatial(maps)
        return refined


class CbamPooled(nn.Module):
    """Put CBAM between the last feature map of a timm network and the network's own pooling.

    So a network with CBAM differs from the one without in CBAM alone.

    Args:
        trunk: a convolutional timm network without a classifier.
        side: of a picture it can see, in pixels; tried once, for the width of its last map.

    Raises:
        ValueError: the network ends in no map.
    """

    NEW = ("cbam.",)
    """Names of tensors that no published file has begin so."""

    def __init__(self, trunk: Any, side: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.cbam = Cbam(_last_width(trunk, side))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, D) float from (B, 3, H, W) float."""
        maps = self.cbam(self.trunk.forward_features(pixels))  # (B, C, h, w)
        features: Tensor = self.trunk.forward_head(maps, pre_logits=True)  # (B, D)
        return features


def _last_width(trunk: Any, side: int) -> int:
    training = trunk.training
    with torch.inference_mode():
        maps = trunk.eval().forward_features(torch.zeros(1, 3, side, side))
    trunk.train(training)
    if maps.ndim != 4:
        raise ValueError("CBAM wants a convolutional network, and this one ends in no map")
    return int(maps.shape[1])
