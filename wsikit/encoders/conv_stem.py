"""The convolutional stem of CTransPath (Wang et al. 2022)."""

from __future__ import annotations

from typing import Any

from timm.layers.helpers import to_2tuple
from torch import Tensor, nn


class ConvStem(nn.Module):
    """Cut a picture into patches by three convolutions, in the place of timm's single one.

    Two strided 3x3 convolutions with BatchNorm and ReLU, to an eighth and a quarter of the
    embedding's width, then a 1x1 one to all of it. The tokens keep their grid, as timm's Swin
    transformer wants them.

    Args:
        img_size: side of the picture in pixels, or height and width.
        patch_size: side of a patch; 4.
        in_chans: channels of the picture.
        embed_dim: width of a token.
        norm_layer: of the tokens.
        **_: what else timm tells its own patch embedding.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 4,
        in_chans: int = 3,
        embed_dim: int = 96,
        norm_layer: Any = None,
        **_: Any,
    ) -> None:
        super().__init__()
        if patch_size != 4 or embed_dim % 8:
            raise ValueError("this stem makes patches of 4 px, of a width that 8 divides")
        height, width = to_2tuple(img_size)
        self.patch_size = (patch_size, patch_size)
        self.grid_size = (height // patch_size, width // patch_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        layers: list[nn.Module] = []
        for channels in (embed_dim // 8, embed_dim // 4):
            layers += [
                nn.Conv2d(in_chans, channels, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]
            in_chans = channels
        layers.append(nn.Conv2d(in_chans, embed_dim, 1))
        self.proj = nn.Sequential(*layers)
        self.norm = norm_layer(embed_dim) if norm_layer else nn.Identity()

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, H/4, W/4, embed_dim) from (B, in_chans, H, W)."""
        grid: Tensor = self.norm(self.proj(pixels).permute(0, 2, 3, 1))
        return grid
