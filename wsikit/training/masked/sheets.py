"""Draw what a UMAE restored, and where its encoder looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from wsikit.encoders.network import Encoder
from wsikit.encoders.spec import EncoderSpec
from wsikit.encoders.umae.attention import global_attention
from wsikit.encoders.umae.embed import to_picture
from wsikit.encoders.umae.masks import Masks
from wsikit.encoders.umae.model import UMAE
from wsikit.training.masked.data import ReadPicture, Shown, squeezed
from wsikit.training.masked.items import Item
from wsikit.types import UInt8Image

GAP = 4
HIDDEN = 0.5
"""Grey of patches that were hidden."""

OPACITY = 0.6

PANEL_PX = 180
"""Side of a picture at least; smaller ones are enlarged by whole factors, pixels kept."""

HEAD_PX, LEFT_PX, FONT_PX = 24, 64, 14
"""Room for the headings of columns and rows, and the height of their letters."""


@torch.inference_mode()
def restoration_sheet(
    model: UMAE, item: Item, read: ReadPicture, rows: Sequence[str]
) -> UInt8Image:
    """Draw an item: a row a magnification; as it is, what the encoder saw of it, as restored.

    Noise is drawn as it was shown; hidden patches are grey. All patches are the decoder's, also
    those that were seen, of which nothing was asked in training.

    Args:
        model: on the CPU, in evaluation mode.
        item: four pictures.
        read: reads a picture.
        rows: what each of the four is; short.

    Returns:
        (H, W, 3) uint8 with headings.
    """
    shown = Shown(model.spec, model.options.mask, model.size.patch_px, read)
    pictures, masks = shown.item(item)  # (4, 3, S, S)
    found = model(pictures[None], masks)
    seen = _coloured(to_picture(_as_seen(found.targets, masks)[0], model.size.patch_px), model.spec)
    seen[_pixels(~found.seen[0], model.size.patch_px)] = HIDDEN
    restored = to_picture(found.patches[0], model.size.patch_px)
    columns = {
        "picture": _coloured(pictures, model.spec),
        "seen of it": seen,
        "restored": _coloured(restored, model.spec),
    }
    return _sheet(columns, rows, "Grey: hidden. Specks: noise in place of a patch that was kept.")


@torch.inference_mode()
def attention_sheet(
    encoders: Mapping[str, Encoder], item: Item, read: ReadPicture, rows: Sequence[str]
) -> UInt8Image:
    """Draw where the global token of encoders looks: a row a magnification, the pictures first.

    Args:
        encoders: heading -> encoder on the CPU, for pictures of one side; a column each.
        item: four pictures.
        read: reads a picture.
        rows: what each of the four is; short.

    Returns:
        (H, W, 3) uint8 with headings; in each map the brightest patch is most looked at.
    """
    first = next(iter(encoders.values()))
    spec = first.spec
    side = len(global_attention(first, torch.zeros(1, 3, spec.input_px, spec.input_px))[0])
    patch_px = spec.input_px // side
    pictures = torch.stack([squeezed(spec, read(*picture)) for picture in item.pictures])
    plain = _coloured(pictures, spec)
    columns = {"picture": plain}
    for heading, encoder in encoders.items():
        shares = global_attention(encoder, pictures)  # (4, rows, cols)
        shares /= shares.amax((1, 2), keepdim=True)
        large = np.kron(shares.numpy(), np.ones((patch_px, patch_px)))
        colours = matplotlib.colormaps["viridis"](large)[..., :3]
        columns[heading] = OPACITY * colours + (1 - OPACITY) * plain
    return _sheet(
        columns, rows, "Yellow: most looked at, each map by its own largest; blue: least."
    )


def _as_seen(patches: Tensor, masks: Masks) -> Tensor:
    """Return (1, 4, N, P) patches with the noise that stood in the place of some."""
    kept, noised, noise = masks
    places = kept.gather(2, noised)[..., None].expand(noise.shape)
    return patches.scatter(2, places, noise)


def _pixels(patches: Tensor, patch_px: int) -> NDArray[np.bool_]:
    """Return (M, S, S) bool from (M, N)."""
    side = round(patches.shape[-1] ** 0.5)
    grid = patches.reshape(-1, side, side).numpy()
    return np.kron(grid, np.ones((patch_px, patch_px), bool)).astype(bool)


def _coloured(pictures: Tensor, spec: EncoderSpec) -> NDArray[np.float64]:
    """Return (M, S, S, 3) from 0 to 1."""
    mean, std = np.array(spec.mean), np.array(spec.std)
    colours: NDArray[np.float64] = pictures.permute(0, 2, 3, 1).numpy() * std + mean
    return colours.clip(0, 1)


def _sheet(
    columns: Mapping[str, NDArray[np.float64]], rows: Sequence[str], foot: str
) -> UInt8Image:
    """Lay columns of (M, S, S, 3) side by side under their headings, a row a magnification."""
    panels = [_enlarged(column) for column in columns.values()]
    step = panels[0].shape[1] + GAP
    size = (LEFT_PX + step * len(panels), HEAD_PX + step * len(panels[0]) + HEAD_PX)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_PX)
    for col, (heading, panel) in enumerate(zip(columns, panels, strict=True)):
        left = LEFT_PX + col * step
        draw.text((left, 4), heading, fill="black", font=font)
        for row, picture in enumerate(panel):
            sheet.paste(Image.fromarray(picture), (left, HEAD_PX + row * step))
    for row, words in enumerate(rows):
        place = (4, HEAD_PX + row * step + step // 2 - FONT_PX)
        draw.text(place, words, fill="black", font=font)
    draw.text((4, size[1] - HEAD_PX + 2), foot, fill="black", font=font)
    return np.asarray(sheet)


def _enlarged(pictures: NDArray[np.float64]) -> UInt8Image:
    factor = -(-PANEL_PX // pictures.shape[1])
    large: UInt8Image = np.rint(255 * pictures).astype(np.uint8)
    return large.repeat(factor, axis=1).repeat(factor, axis=2)
