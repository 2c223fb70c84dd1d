"""How large a UMAE is, and the encoders it leaves behind, in words; nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass

from wsikit.encoders.spec import Argument, EncoderSpec

CROSS_CONVOLUTION = "CrossConvolution"
SIN_COS_EMBED = "SinCosEmbed"
"""Layers that `wsikit.encoders.backbone` knows by these names."""

TIMM_NAME = "vit_base_patch16_224"
"""Any vision transformer of timm would do: every size below is said."""


@dataclass(frozen=True)
class UMAESize:
    """How large encoder and decoders are.

    Attributes:
        input_px: side of the square picture.
        patch_px: side of a patch; it divides `input_px`.
        width: of the encoder's tokens; a multiple of 4 and of `heads`.
        depth: blocks of the encoder.
        heads: of its attention.
        decoder_width: of the decoders' tokens; a multiple of 4 and of `decoder_heads`.
        decoder_depth: blocks of each decoder.
        decoder_heads: of its attention.
    """

    input_px: int
    patch_px: int
    width: int
    depth: int
    heads: int
    decoder_width: int
    decoder_depth: int = 3
    decoder_heads: int = 16

    @property
    def side(self) -> int:
        """Patches along a side of the picture."""
        return self.input_px // self.patch_px


SIZES = {
    "base": UMAESize(460, 20, 768, 12, 12, 512),
    "small": UMAESize(120, 8, 128, 4, 4, 64, decoder_heads=4),
    "tiny": UMAESize(56, 8, 32, 2, 4, 32, decoder_depth=1, decoder_heads=4),
}
"""`base` is the source's ViT-B at 460 px, 23 x 23 patches; `small` learns on a processor, `tiny` is
for tests. The grids of all three are odd. The decoder's width is He et al.'s (2022); the source
gives none."""


def encoder_name(size: str, convolutional: bool) -> str:
    """Name the encoder of a UMAE: `umae-base`, or `mae-base` without cross convolution."""
    return f"{'umae' if convolutional else 'mae'}-{size}"


def encoder_table(name: str, size: UMAESize, convolutional: bool) -> EncoderSpec:
    """Describe an encoder as timm's vision transformer.

    Args:
        name: what it is called.
        size: how large it is.
        convolutional: whether queries, keys and values come from 3x3 convolutions.
    """
    arguments: tuple[tuple[str, Argument], ...] = (
        ("img_size", size.input_px),
        ("patch_size", size.patch_px),
        ("embed_dim", size.width),
        ("depth", size.depth),
        ("num_heads", size.heads),
        ("embed_layer", SIN_COS_EMBED),
        ("pos_embed", "none"),
    )
    if convolutional:
        arguments = (*arguments, ("attn_layer", CROSS_CONVOLUTION))
    return EncoderSpec(
        name, TIMM_NAME, "", size.width, input_px=size.input_px, arguments=arguments,
        note="has no published weights: pre-train it with pipelines/umae.py",
    )  # fmt: skip


UMAE_ENCODERS = tuple(
    encoder_table(encoder_name(size, True), SIZES[size], True) for size in ("base", "small")
)
"""Those listed by name; the file of any other one says what it is."""
