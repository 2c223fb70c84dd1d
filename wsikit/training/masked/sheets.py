"""Draw what a UMAE restored, and where its encoder looks."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
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


@torch.inference_mode()
def restoration_sheet(model: UMAE, item: Item, read: ReadPicture) -> UInt8Image:
    """Draw an item: a row a magnification; as it is, what the encoder saw of it, as restored.

    Noise is drawn as it was shown; hidden patches are grey. All patches are the decoder's, also
    those that were seen, of which nothing was asked in training.

    Args:
        model: on the CPU, in evaluation mode.
        item: four pictures.
        read: reads a picture.

    Returns:
        (H, W, 3) uint8.
    """
    shown = Shown(model.spec, model.options.mask, model.size.patch_px, read)
    pictures, masks = shown.item(item)  # (4, 3, S, S)
    found = model(pictures[None], masks)
    seen = _coloured(to_picture(_as_seen(found.targets, masks)[0], model.size.patch_px), model.spec)
    seen[_pixels(~found.seen[0], model.size.patch_px)] = HIDDEN
    restored = to_picture(found.patches[0], model.size.patch_px)
    columns = [_coloured(pictures, model.spec), seen, _coloured(restored, model.spec)]
    return _sheet(columns)


@torch.inference_mode()
def attention_sheet(encoders: Sequence[Encoder], item: Item, read: ReadPicture) -> UInt8Image:
    """Draw where the global token of encoders looks: a row a magnification, the pictures first.

    Args:
        encoders: on the CPU, for pictures of one side; a column each.
        item: four pictures.
        read: reads a picture.

    Returns:
        (H, W, 3) uint8; in each map the brightest patch is the one most looked at.
    """
    spec = encoders[0].spec
    side = len(global_attention(encoders[0], torch.zeros(1, 3, spec.input_px, spec.input_px))[0])
    patch_px = spec.input_px // side
    pictures = torch.stack([squeezed(spec, read(*picture)) for picture in item.pictures])
    plain = _coloured(pictures, spec)
    columns = [plain]
    for encoder in encoders:
        shares = global_attention(encoder, pictures)  # (4, rows, cols)
        shares /= shares.amax((1, 2), keepdim=True)
        large = np.kron(shares.numpy(), np.ones((patch_px, patch_px)))
        colours = matplotlib.colormaps["viridis"](large)[..., :3]
        columns.append(OPACITY * colours + (1 - OPACITY) * plain)
    return _sheet(columns)


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


def _sheet(columns: Sequence[NDArray[np.float64]]) -> UInt8Image:
    padded = [np.pad(c, ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=1) for c in columns]
    rows = np.concatenate(padded, axis=2)  # (M, S + gap, columns, 3)
    sheet = rows.reshape(-1, *rows.shape[2:])[:-GAP, :-GAP]
    return np.rint(255 * sheet).astype(np.uint8)
