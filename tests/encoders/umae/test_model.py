"""UMAE beside its equations in slow numpy, for every set of switches; and as an encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from tests.encoders.umae.slow_umae import losses, positions, rca
from wsikit.encoders.network import encoder_id
from wsikit.encoders.saved import read_encoder, save_encoder
from wsikit.encoders.umae.attention import global_attention
from wsikit.encoders.umae.cross_attention import MAGNIFICATIONS, PARTNERS, residual_cross_attention
from wsikit.encoders.umae.embed import SinCosEmbed, to_patches, to_picture
from wsikit.encoders.umae.masks import MaskOptions, draw_masks, joined
from wsikit.encoders.umae.model import UMAE, UMAEOptions
from wsikit.encoders.umae.sizes import SIZES, UMAESize
from wsikit.errors import ConfigError

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = UMAESize(20, 4, 16, 2, 2, 8, decoder_depth=1, decoder_heads=2)
RANDOM = MaskOptions(uniform=False)
WHOLE = UMAEOptions("tiny")
PLAIN = UMAEOptions("tiny", RANDOM, ccp=False, rca=False, joint=False)
SWITCHES = {
    "umae": WHOLE,
    "umae restored": replace(WHOLE, order="restored"),
    "mae": PLAIN,
    "mae+unm": replace(PLAIN, mask=MaskOptions()),
    "mae+ccp alone": replace(PLAIN, ccp=True),
    "joint": replace(PLAIN, joint=True),
    "joint+unm": replace(WHOLE, ccp=False, rca=False),
    "joint+ccp": replace(WHOLE, mask=RANDOM, rca=False),
    "joint+rca": replace(WHOLE, mask=RANDOM, ccp=False),
    "unm+ccp": replace(WHOLE, rca=False),
    "unm+rca": replace(WHOLE, ccp=False),
    "ccp+rca": replace(WHOLE, mask=RANDOM),
    "half hidden": replace(WHOLE, mask=MaskOptions(omega=0.5, sigma=0.5)),
}


def masks_of(options: UMAEOptions, size: UMAESize, items: int):
    rngs = [np.random.default_rng(item) for item in range(items)]
    length = 3 * size.patch_px**2
    return joined([draw_masks(options.mask, size.side, length, 4, rng) for rng in rngs])


def pictures_of(size: UMAESize, items: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(items, 4, 3, size.input_px, size.input_px, generator=generator)


def drawn(options: UMAEOptions, size: UMAESize = SIZE) -> UMAE:
    """A model none of whose tensors is zero or one."""
    model = UMAE(options, size).double().eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor += 0.3 * torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
    model.positions = torch.from_numpy(positions(size.side, size.decoder_width))
    model.encoder.patch_embed.positions = torch.from_numpy(positions(size.side, size.width))
    return model


@pytest.mark.parametrize("name", SWITCHES)
def test_it_is_what_the_equations_say(name: str) -> None:
    options = SWITCHES[name]
    model = drawn(options)
    pictures, masks = pictures_of(SIZE, 2).double(), masks_of(options, SIZE, 2)
    with torch.no_grad():
        found = model(pictures, masks)
    weights = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    for item in range(2):
        own = [part[item].numpy() for part in masks]
        loss, restored = losses(pictures[item].numpy(), own, weights, SIZE, options)
        np.testing.assert_allclose(found.patches[item].numpy(), restored, rtol=1e-9, atol=1e-9)
        assert found.losses()[item].item() == pytest.approx(loss, rel=1e-5)


def test_with_all_switched_off_the_encoder_is_timms_own_vision_transformer() -> None:
    """Nothing is hidden from either; timm's learnt positions are given the sines."""
    model = UMAE(PLAIN, SIZE).eval()
    theirs = VisionTransformer(
        SIZE.input_px, SIZE.patch_px, embed_dim=SIZE.width, depth=SIZE.depth,
        num_heads=SIZE.heads, num_classes=0,
    ).eval()  # fmt: skip
    own = model.encoder.state_dict()
    grid = torch.from_numpy(positions(SIZE.side, SIZE.width)).float()
    own["pos_embed"] = torch.cat([torch.zeros(1, SIZE.width), grid])[None]
    theirs.load_state_dict(own)
    pictures = pictures_of(SIZE, 1)[0]
    kept = torch.arange(SIZE.side**2).expand(1, 4, -1)
    patches = to_patches(pictures[None], SIZE.patch_px)
    with torch.no_grad():
        ours = model._encoded(patches, kept)
        torch.testing.assert_close(ours, theirs.forward_features(pictures), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            model.trained_encoder().backbone(pictures), theirs(pictures), atol=1e-5, rtol=1e-4
        )


def test_whom_each_magnification_looks_at_is_as_printed() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4, 1, 9, 6, generator=generator, dtype=torch.float64)
    by_name = {name: z[n, 0].numpy() for n, name in enumerate(MAGNIFICATIONS)}
    for own, others in enumerate(PARTNERS):
        found = residual_cross_attention(z[own], [z[other] for other in others])
        np.testing.assert_allclose(found[0].numpy(), rca(by_name, MAGNIFICATIONS[own]), rtol=1e-12)


def test_only_hidden_patches_count() -> None:
    model = drawn(WHOLE)
    pictures, masks = pictures_of(SIZE, 1).double(), masks_of(WHOLE, SIZE, 1)
    with torch.no_grad():
        found = model(pictures, masks)
    assert found.seen.sum(-1).tolist() == [[9, 9, 9, 9]]
    changed = found._replace(patches=found.patches + 7 * found.seen[..., None])
    torch.testing.assert_close(changed.losses(), found.losses())
    changed = found._replace(patches=found.patches + 7 * ~found.seen[..., None])
    assert (changed.losses() > found.losses()).all()


def test_the_encoder_sees_nothing_of_hidden_patches_nor_of_those_that_are_noise() -> None:
    model = drawn(WHOLE)
    pictures, masks = pictures_of(SIZE, 1).double(), masks_of(WHOLE, SIZE, 1)
    clean = masks.kept[0, 0][~torch.isin(torch.arange(9), masks.noised[0, 0])]
    patches = to_patches(pictures, SIZE.patch_px)
    other = torch.randn_like(patches)
    for n in range(4):
        clean = masks.kept[0, n][~torch.isin(torch.arange(9), masks.noised[0, n])]
        other[0, n, clean] = patches[0, n, clean]
    with torch.no_grad():
        first = model(pictures, masks).patches
        second = model(to_picture(other, SIZE.patch_px), masks).patches
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize("name", ["umae", "umae restored", "mae", "joint"])
def test_every_weight_is_learnt(name: str) -> None:
    model = UMAE(SWITCHES[name], SIZE)
    pictures, masks = pictures_of(SIZE, 2), masks_of(SWITCHES[name], SIZE, 2)
    model(pictures, masks).losses().mean().backward()
    assert all(one.grad is not None and one.grad.any() for one in model.parameters())


def test_items_do_not_know_each_other() -> None:
    model = drawn(WHOLE)
    pictures, masks = pictures_of(SIZE, 2).double(), masks_of(WHOLE, SIZE, 2)
    with torch.no_grad():
        together = model(pictures, masks).patches
        alone = model(pictures[1:], type(masks)(*(part[1:] for part in masks))).patches
    torch.testing.assert_close(together[1:], alone)


def test_as_printed_the_middle_magnifications_are_told_apart_by_the_residual_alone() -> None:
    """What `CrossProjection` says of equation 7."""
    for order, alike in (("printed", True), ("restored", False)):
        model = drawn(replace(WHOLE, order=order), replace(SIZE, input_px=36))
        projection = model.encoder.blocks[0].attn.qkv
        tokens = torch.randn(1, 101, SIZE.width, dtype=torch.float64)
        with torch.no_grad():
            maps = projection(tokens)[:, 1:].unflatten(1, (4, 5, 5))
        inside = slice(1, -1)
        assert torch.allclose(maps[:, 1, inside], maps[:, 2, inside]) is alike


def test_saved_and_read_again_it_is_the_same_encoder(tmp_path: Path) -> None:
    encoder = UMAE(WHOLE).trained_encoder()
    save_encoder(tmp_path / "umae.safetensors", encoder)
    again = read_encoder(tmp_path / "umae.safetensors")
    patches = torch.randint(0, 256, (2, 3, 46, 70), dtype=torch.uint8)
    torch.testing.assert_close(again(patches), encoder(patches))
    assert again(patches).shape == (2, 32)
    assert encoder_id(again).startswith("umae-file-")


def test_the_base_is_the_sources() -> None:
    base = SIZES["base"]
    assert (base.side, base.side**2) == (23, 529)
    assert (base.width, base.depth, base.heads, base.decoder_depth) == (768, 12, 12, 3)
    assert MaskOptions().kept_shape(base.side) == (12, 12)
    with torch.device("meta"):
        plain = UMAE(UMAEOptions("base", RANDOM, False, False, False))
    # ViT-B/16 without classifier has 85,798,656; another patch size, and no learnt positions.
    vit_b = 85_798_656 - 197 * 768 + 3 * (20**2 - 16**2) * 768
    assert sum(tensor.numel() for tensor in plain.encoder.parameters()) == vit_b


def test_patches_make_the_picture_again() -> None:
    picture = pictures_of(SIZE, 1)
    patches = to_patches(picture, SIZE.patch_px)
    torch.testing.assert_close(to_picture(patches, SIZE.patch_px), picture)
    embed = SinCosEmbed(SIZE.input_px, SIZE.patch_px, 3, SIZE.width)
    kept = torch.tensor([[3, 17, 4]])
    torch.testing.assert_close(
        embed.embed_some(patches[0, :1, kept[0]], kept), embed(picture[0, :1])[:, kept[0]]
    )


def test_attention_of_the_global_token_is_timms() -> None:
    encoder = UMAE(WHOLE, SIZE).trained_encoder()
    pictures = pictures_of(SIZE, 1)[0]
    shares = global_attention(encoder, pictures)
    assert shares.shape == (4, 5, 5)
    assert ((shares > 0) & (shares < 1)).all()
    assert (shares.flatten(1).sum(1) < 1).all()
    # Rebuilt from its attention: values weighed by the shares give what timm's layer gives.
    block = encoder.backbone.blocks[-1]
    block.attn.fused_attn = False
    seen = {}
    block.attn.attn_drop.register_forward_hook(lambda _, given, out: seen.update(out=out))
    with torch.no_grad():
        encoder.backbone(pictures)
    torch.testing.assert_close(seen["out"].mean(1)[:, 0, 1:].unflatten(1, (5, 5)), shares)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: UMAEOptions("smal"), "no UMAE of size 'smal'.*small"),
        (lambda: replace(WHOLE, joint=False), "rca needs the other magnifications"),
        (lambda: MaskOptions(omega=1.0), "omega is 1.0"),
        (lambda: MaskOptions(sigma=1.0), "sigma is 1.0"),
    ],
)
def test_what_cannot_be_is_said(wrong, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        wrong()
