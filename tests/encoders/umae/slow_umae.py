"""UMAE's equations one by one, in numpy, with loops and in float64."""

from __future__ import annotations

import numpy as np
from scipy.special import erf

WITH = {40: (100, 200, 400), 100: (40, 200, 400), 200: (40, 100, 400), 400: (40, 100, 200)}
NAMES = (40, 100, 200, 400)


def softmax(scores):
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(x, w, name, eps):
    centred = x - x.mean(-1, keepdims=True)
    return (
        centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * w[f"{name}.weight"]
        + w[f"{name}.bias"]
    )


def linear(x, w, name):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def gelu(x):
    return x * 0.5 * (1 + erf(x / np.sqrt(2)))


def mlp(x, w, name):
    return linear(gelu(linear(x, w, f"{name}.fc1")), w, f"{name}.fc2")


def heads_attention(q, k, v, heads):
    """(T, D) each."""
    width = q.shape[1] // heads
    out = np.zeros_like(q)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        shares = softmax(q[:, part] @ k[:, part].T / np.sqrt(width))
        out[:, part] = shares @ v[:, part]
    return out


def conv3x3(image, kernel, bias):
    """(H, W, D) -> (H, W, E), zeros around."""
    height, width, _ = image.shape
    out = np.zeros((height, width, kernel.shape[0])) + bias
    for y in range(height):
        for x in range(width):
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        out[y, x] += kernel[:, :, dy + 1, dx + 1] @ image[y + dy, x + dx]
    return out


def cross_convolution(tokens, kernel, bias, maps, height, width, order):
    """Equations 7 and 9: (1 + T, D) -> (1 + T, 3 D)."""
    dim = tokens.shape[1]

    def project(sequence):
        stacked = sequence.reshape(maps * height, width, dim)
        parts = [
            conv3x3(stacked, kernel[n * dim : (n + 1) * dim], bias[n * dim : (n + 1) * dim])
            for n in range(3)
        ]
        return np.concatenate(parts, -1).reshape(maps, height * width, 3 * dim)

    def swap(blocks):
        return blocks[[0, 2, 1, 3]] if maps == 4 else blocks

    z = tokens[1:].reshape(maps, height * width, dim)
    of_z, of_other = project(z), project(swap(z))
    if order == "restored":
        of_other = swap(of_other)
    average = ((of_z + of_other) / 2).reshape(-1, 3 * dim)
    alone = conv3x3(tokens[:1].reshape(1, 1, dim), kernel, bias).reshape(1, 3 * dim)
    return np.concatenate([alone, average])


def block(x, w, name, heads, eps, ccp=None):
    normed = layer_norm(x, w, f"{name}.norm1", eps)
    if ccp:
        conv = f"{name}.attn.qkv.conv"
        qkv = cross_convolution(normed, w[f"{conv}.weight"], w[f"{conv}.bias"], *ccp)
    else:
        qkv = linear(normed, w, f"{name}.attn.qkv")
    x = x + linear(heads_attention(*np.split(qkv, 3, -1), heads), w, f"{name}.attn.proj")
    return x + mlp(layer_norm(x, w, f"{name}.norm2", eps), w, f"{name}.mlp")


def rca(z, own):
    """Equations 12 and 13, each line as printed; z by magnification, (N, d)."""
    b1, b2, b3 = (z[name] for name in WITH[own])
    root = np.sqrt(z[own].shape[1])
    a1 = softmax(z[own] @ b1.T / root) @ z[own]
    t1 = a1 + z[own]
    a2 = softmax(t1 @ b2.T / root) @ t1
    t2 = a2 + t1
    a3 = softmax(t2 @ b3.T / root) @ t2
    return a3 + a2 + a1 + z[own]


def positions(side, width):
    """Sines of the row, of the column, cosines of the row, of the column."""
    quarter = width // 4
    out = np.zeros((side * side, width))
    for row in range(side):
        for col in range(side):
            for n in range(quarter):
                pace = 10000 ** (-n / quarter)
                place = row * side + col
                out[place, n] = np.sin(row * pace)
                out[place, quarter + n] = np.sin(col * pace)
                out[place, 2 * quarter + n] = np.cos(row * pace)
                out[place, 3 * quarter + n] = np.cos(col * pace)
    return out


def cut(picture, px):
    """(3, S, S) -> (N, 3 px px)."""
    side = picture.shape[1] // px
    return np.stack([
        picture[:, r * px : (r + 1) * px, c * px : (c + 1) * px].reshape(-1)
        for r in range(side) for c in range(side)
    ])  # fmt: skip


def losses(pictures, masks, w, size, options):
    """One item: (M, 3, S, S) and its masks; returns the loss, equation 11, and all patches."""
    kept, noised, noise = masks
    height, width = options.mask.kept_shape(size.side)
    patches = [cut(picture, size.patch_px) for picture in pictures]
    proj = w["encoder.patch_embed.proj.weight"].reshape(size.width, -1)
    grid = positions(size.side, size.width)
    tokens = []
    for m, own in enumerate(patches):
        seen = own[kept[m]].copy()
        for place, values in zip(noised[m], noise[m], strict=True):
            seen[place] = values
        bias = w["encoder.patch_embed.proj.bias"]
        tokens.append(seen @ proj.T + bias + grid[kept[m]])
    start = w["encoder.cls_token"][0]
    sequences = [np.concatenate([start, *tokens])] if options.joint else [
        np.concatenate([start, one]) for one in tokens
    ]  # fmt: skip
    maps = 4 if options.joint else 1
    ccp = (maps, height, width, options.order) if options.ccp else None
    decoded_grid = positions(size.side, size.decoder_width)
    encoded = []
    for x in sequences:
        for n in range(size.depth):
            x = block(x, w, f"encoder.blocks.{n}", size.heads, 1e-6, ccp)
        encoded.append(linear(layer_norm(x, w, "encoder.norm", 1e-6), w, "project"))
    count = height * width
    starts = [x[:1] for x in encoded]
    seen = (
        [encoded[0][1 + m * count : 1 + (m + 1) * count] for m in range(4)]
        if options.joint
        else [x[1:] for x in encoded]
    )
    z = {}
    for m, name in enumerate(NAMES):
        whole = np.tile(w["mask_token"], (size.side**2, 1))
        whole[kept[m]] = seen[m]
        z[name] = whole + decoded_grid
    total, restored = 0.0, []
    for m, name in enumerate(NAMES):
        decoder = f"decoders.{m if options.joint else 0}"
        x = mlp(rca(z, name), w, f"{decoder}.mlp") if options.rca else z[name]
        if not options.joint:
            x = np.concatenate([starts[m], x])
        for n in range(size.decoder_depth):
            x = block(x, w, f"{decoder}.blocks.{n}", size.decoder_heads, 1e-6)
        x = linear(layer_norm(x, w, f"{decoder}.norm", 1e-6), w, f"{decoder}.to_pixels")
        restored.append(x if options.joint else x[1:])
        hidden = np.setdiff1d(np.arange(size.side**2), kept[m])
        total += ((restored[m][hidden] - patches[m][hidden]) ** 2).mean()
    return total, np.stack(restored)
