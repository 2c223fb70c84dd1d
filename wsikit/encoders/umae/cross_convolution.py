"""CCP: queries, keys and values from 3x3 convolutions over two orders of the magnifications."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from timm.layers.attention import Attention
from torch import Tensor, nn
from torch.nn import functional as F

SWAPPED = (0, 2, 1, 3)
"""The order of z': 40x, 200x, 100x, 400x. It is its own inverse."""

Order = Literal["printed", "restored"]
"""How the convolutions of z' meet those of z: place by place as printed, or token by token."""


class Layout(NamedTuple):
    """How a sequence without its global token lies as maps.

    Attributes:
        maps: how many, one a magnification.
        height: of each.
        width: of each.
        order: see `Order`.
    """

    maps: int
    height: int
    width: int
    order: Order = "printed"


class CrossConvolution(Attention):
    """Attend as timm's layer does, with the projection of UMAE's CCP module.

    Args:
        dim: width of a token.
        **more: what timm tells its attention.
    """

    def __init__(self, dim: int, **more: Any) -> None:
        super().__init__(dim, **more)
        places = {key: more[key] for key in ("device", "dtype") if key in more}
        projection = CrossProjection(dim, bool(more.get("qkv_bias")), **places)
        self.qkv = projection  # type: ignore[assignment]  # timm has a linear layer there


class CrossProjection(nn.Module):
    """Project tokens to queries, keys and values by 3x3 convolutions (equations 7 and 9).

    z and z' (100x and 200x swapped) are laid out as 2-D maps, one magnification below the other,
    passed through the same convolutions, flattened, and averaged:

        q = (conv_q(z) + conv_q(z')) / 2, likewise k and v

    As printed, the average is taken place by place; a place of z that holds 100x holds 200x in z'.
    Convolution is linear, so that this is one convolution of (z + z') / 2, which is what is
    computed. It follows that away from the maps' borders 100x and 200x get the same queries, keys
    and values; only the residual tells them apart. With the order `restored` the result for z' is
    swapped back first, so that each token is averaged with itself under other neighbours.

    The global token has no place on a map. It is a map of one pixel: of each 3x3 kernel it meets
    the centre.

    Args:
        dim: width of a token.
        bias: whether the convolutions have one.
        device: where the weights are made.
        dtype: of the weights.

    Attributes:
        layout: of the maps; None for one square map, which has no other order.
    """

    def __init__(
        self,
        dim: int,
        bias: bool,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, 3 * dim, 3, padding=1, bias=bias, device=device, dtype=dtype)
        self.layout: Layout | None = None

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, 1 + T, 3 dim), q, k and v side by side, from (B, 1 + T, dim).

        Raises:
            ValueError: the tokens do not fill the maps.
        """
        tokens = tokens.contiguous()
        alone = F.linear(tokens[:, :1], self.conv.weight[:, :, 1, 1], self.conv.bias)
        maps = self._maps(tokens[:, 1:])  # (B, M, h, w, dim)
        if maps.shape[1] == 1:
            projected = self._convolved(maps)
        elif self.layout is None or self.layout.order == "printed":
            projected = self._convolved((maps + maps[:, SWAPPED]) / 2)
        else:
            other = self._convolved(maps[:, SWAPPED])[:, SWAPPED]
            projected = (self._convolved(maps) + other) / 2
        return torch.cat([alone, projected.flatten(1, 3)], dim=1)

    def _maps(self, tokens: Tensor) -> Tensor:
        side = math.isqrt(tokens.shape[1])
        layout = self.layout or Layout(1, side, side)
        if tokens.shape[1] != layout.maps * layout.height * layout.width:
            raise ValueError(f"{tokens.shape[1]} tokens do not fill maps of {layout}")
        return tokens.reshape(len(tokens), *layout[:3], -1)

    def _convolved(self, maps: Tensor) -> Tensor:
        """Return (B, M, h, w, 3 dim) from (B, M, h, w, dim), all maps of a row being one map."""
        stacked = maps.flatten(1, 2).permute(0, 3, 1, 2)  # (B, dim, M h, w)
        found: Tensor = self.conv(stacked).permute(0, 2, 3, 1)  # (B, M h, w, 3 dim)
        return found.reshape(*maps.shape[:-1], -1)
