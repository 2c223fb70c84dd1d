"""UMAE whole: the encoder that sees few patches, and the decoders that restore the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from timm.layers.mlp import Mlp
from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from wsikit.encoders.backbone import build_backbone
from wsikit.encoders.network import Encoder
from wsikit.encoders.random_weights import SEED
from wsikit.encoders.umae.cross_attention import (
    MAGNIFICATIONS,
    PARTNERS,
    residual_cross_attention,
)
from wsikit.encoders.umae.cross_convolution import CrossProjection, Layout, Order
from wsikit.encoders.umae.embed import to_patches
from wsikit.encoders.umae.masks import MaskOptions, Masks
from wsikit.encoders.umae.sizes import SIZES, UMAESize, encoder_name, encoder_table
from wsikit.errors import ConfigError, nearest

TOKEN_SPREAD = 0.02
"""Of the mask token's start, as He et al. (2022)."""


@dataclass(frozen=True)
class UMAEOptions:
    """Which parts a UMAE has.

    Attributes:
        size: a name in `SIZES`.
        mask: UNM and its shares.
        ccp: queries, keys and values from convolutions over two orders of the magnifications.
        rca: each decoder first looks at the other magnifications.
        joint: the four pictures of an item form one sequence, restored by a decoder each. False
            takes each picture by itself, with one decoder for all: with all else off, a plain MAE.
        order: how CCP averages; see `CrossProjection`.

    Raises:
        ConfigError: a size is unknown, or RCA has no other magnification to look at.
    """

    size: str = "base"
    mask: MaskOptions = field(default_factory=MaskOptions)
    ccp: bool = True
    rca: bool = True
    joint: bool = True
    order: Order = "printed"

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ConfigError(f"no UMAE of size '{self.size}'", nearest(self.size, SIZES))
        if self.rca and not self.joint:
            raise ConfigError("rca needs the other magnifications", "leave joint on, or rca off")


class Restored(NamedTuple):
    """What the decoders made of B items of M pictures of N patches.

    Attributes:
        patches: (B, M, N, P), all patches, those that were seen too.
        targets: (B, M, N, P), the pictures.
        seen: (B, M, N) bool, which ones the encoder saw.
    """

    patches: Tensor
    targets: Tensor
    seen: Tensor

    def losses(self) -> Tensor:
        """Return the (B,) losses of equation 11.

        That is the mean squared error over the patches that were not seen, summed over the pictures
        of an item.
        """
        errors = (self.patches.float() - self.targets).square().mean(-1)  # (B, M, N)
        hidden = ~self.seen
        return ((errors * hidden).sum(-1) / hidden.sum(-1)).sum(-1)


class UMAE(nn.Module):
    """Restore pictures of one specimen at four magnifications from a quarter of their patches.

    Si et al. (2024), "Breast cancer image classification based on multi-magnification mask
    autoencoders": patches are hidden evenly and some of the rest replaced by noise (UNM, `masks`);
    the tokens of all four pictures form one sequence for a vision transformer whose queries, keys
    and values come from convolutions (CCP, `cross_convolution`); a decoder for each magnification
    looks at the other three (RCA, `cross_attention`) and restores the pixels.

    Departures. Blocks are timm's, with a norm before attention and MLP and a residual around each;
    equation 8 prints neither the first norm nor the second residual, without which twelve blocks
    do not train and the rest is no MAE. The projection to the decoders' width and the mask token
    are shared by the decoders, since equation 10 splits the sequence after it. Decoders add the
    positions again, as He et al. (2022). RCA works on sequences to which mask tokens were added
    back. A plain MAE's decoder also gets the global token.

    Args:
        options: which parts it has.
        size: how large; that of `options.size` unless given.
        seed: of the start's weights; torch's global generator is left as it was.
    """

    positions: Tensor

    def __init__(self, options: UMAEOptions, size: UMAESize | None = None, seed: int = 0) -> None:
        super().__init__()
        self.options, self.size = options, size or SIZES[options.size]
        self.spec = encoder_table(encoder_name(options.size, options.ccp), self.size, options.ccp)
        self.encoder: Any = build_backbone(self.spec, SEED + seed)
        self._lay_out()
        width = self.size.decoder_width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED + seed)
            self.project = nn.Linear(self.size.width, width)
            self.mask_token = nn.Parameter(TOKEN_SPREAD * torch.randn(width))
            count = len(MAGNIFICATIONS) if options.joint else 1
            self.decoders = nn.ModuleList(_Decoder(self.size, options.rca) for _ in range(count))
        positions = build_sincos2d_pos_embed([self.size.side] * 2, width)
        self.register_buffer("positions", positions, persistent=False)  # (N, width)

    def forward(self, pictures: Tensor, masks: Masks) -> Restored:
        """Restore pictures.

        Args:
            pictures: (B, M, 3, S, S) float32, normalised by the encoder's mean and spread.
            masks: what the encoder sees.
        """
        targets = to_patches(pictures, self.size.patch_px)  # (B, M, N, P)
        tokens = self._encoded(_seen_patches(targets, masks), masks.kept)
        restored = self._joint(tokens, masks) if self.options.joint else self._plain(tokens, masks)
        seen = torch.zeros(targets.shape[:3], dtype=torch.bool, device=targets.device)
        return Restored(restored, targets, seen.scatter(2, masks.kept, True))

    def trained_encoder(self) -> Encoder:
        """Return a copy of the encoder, for pictures of one magnification."""
        backbone = build_backbone(self.spec, SEED)
        backbone.load_state_dict(self.encoder.state_dict())
        return Encoder(self.spec, backbone, "file")

    def _lay_out(self) -> None:
        height, width = self.options.mask.kept_shape(self.size.side)
        maps = len(MAGNIFICATIONS) if self.options.joint else 1
        for module in self.encoder.modules():
            if isinstance(module, CrossProjection):
                module.layout = Layout(maps, height, width, self.options.order)

    def _encoded(self, patches: Tensor, kept: Tensor) -> Tensor:
        """Return (S, 1 + T, width), the global token first, of S sequences.

        One sequence is an item of M pictures (T = M K), or a picture (T = K).
        """
        tokens = self.encoder.patch_embed.embed_some(patches, kept)  # (B, M, K, width)
        first = 1 if self.options.joint else 0
        tokens = tokens.flatten(first, first + 1)  # (S, T, width)
        start = self.encoder.cls_token.expand(len(tokens), -1, -1)
        tokens = torch.cat([start, tokens], dim=1)
        for block in self.encoder.blocks:
            tokens = block(tokens)
        encoded: Tensor = self.encoder.norm(tokens)
        return encoded

    def _joint(self, tokens: Tensor, masks: Masks) -> Tensor:
        seen = self.project(tokens[:, 1:]).reshape(*masks.kept.shape, -1)  # (B, M, K, width)
        whole = self._among_masks(seen, masks.kept).unbind(1)  # M times (B, N, width)
        restored = [
            decoder(own, [whole[other] for other in others])
            for decoder, own, others in zip(self.decoders, whole, PARTNERS, strict=True)
        ]
        return torch.stack(restored, dim=1)

    def _plain(self, tokens: Tensor, masks: Masks) -> Tensor:
        projected = self.project(tokens)
        whole = self._among_masks(projected[:, 1:], masks.kept.flatten(0, 1))
        with_global = torch.cat([projected[:, :1], whole], dim=1)
        restored: Tensor = self.decoders[0](with_global, ())[:, 1:]
        return restored.reshape(*masks.kept.shape[:2], *restored.shape[1:])

    def _among_masks(self, seen: Tensor, kept: Tensor) -> Tensor:
        """Return (..., N, width): (..., K, width) tokens in their places, mask tokens elsewhere."""
        shape = (*seen.shape[:-2], *self.positions.shape)
        whole = self.mask_token.to(seen.dtype).expand(shape)
        places = kept[..., None].expand(seen.shape)
        return whole.scatter(-2, places, seen) + self.positions


def _seen_patches(patches: Tensor, masks: Masks) -> Tensor:
    """Return (B, M, K, P): the patches that are kept, some of them replaced by noise."""

    def as_wide(places: Tensor) -> Tensor:
        return places[..., None].expand(*places.shape, patches.shape[-1])

    seen = patches.gather(2, as_wide(masks.kept))
    return seen.scatter(2, as_wide(masks.noised), masks.noise.to(seen.dtype))


class _Decoder(nn.Module):
    """RCAD: RCA and an MLP, where asked for, then blocks, then a projection to pixels."""

    def __init__(self, size: UMAESize, rca: bool) -> None:
        super().__init__()
        width = size.decoder_width
        self.mlp = Mlp(width, 4 * width) if rca else None
        self.blocks = nn.ModuleList(
            Block(width, size.decoder_heads, qkv_bias=True) for _ in range(size.decoder_depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)  # as timm's blocks
        self.to_pixels = nn.Linear(width, 3 * size.patch_px**2)

    def forward(self, own: Tensor, others: Any) -> Tensor:
        """Return (B, N, P) pixels from (B, N, width) tokens and those of others."""
        if self.mlp is not None:
            own = self.mlp(residual_cross_attention(own, others))
        for block in self.blocks:
            own = block(own)
        pixels: Tensor = self.to_pixels(self.norm(own))
        return pixels
