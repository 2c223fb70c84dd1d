"""Draw the weights of a network that nothing has trained, the same bits on every machine."""

from __future__ import annotations

import math
from zlib import crc32

import numpy as np
import torch
from timm.models.xception import Block, SeparableConv2d
from torch import Tensor, nn

SEED = 20240229
"""Fixed: random weights are an encoder like any other, with one identity."""

CENTRED_RELU_GAIN = 1 / (1 / 2 - 1 / (2 * math.pi))
"""What keeps the variance through a ReLU and a layer whose weights sum to zero.

A layer that ignores the mean of its inputs sees, of the rectified unit normal, the variance
1/2 - 1/(2 pi) where He et al. (2015) count the second moment 1/2.
"""

LINEAR_GAIN = 1.0
"""What keeps the variance through a layer that follows another with nothing between them."""

RESIDUAL_SCALE = 0.5
"""Weight of a norm that timm starts at zero, of the last one of Xception's blocks, and of a layer
scale that timm starts next to zero: each residual block then adds a quarter of a variance, so that
neither 8 nor 16 blocks in a row make the features vanish or explode."""

BLOCK = 2**20


@torch.no_grad()
def draw_weights(network: nn.Module) -> None:
    """Overwrite every convolution and linear layer in place, for use as an untrained encoder.

    timm's own start is made for training and is no encoder: it sets the last norm of each residual
    block to zero, or scales each block by a millionth, which leaves a network of a few layers. Here
    weights are uniform with a variance by fan-in (He et al. 2015, with the gain above), and each
    output's weights are shifted to sum to zero: positive activations share a large common mean, and
    without the shift all patches of a deep random network look alike. Biases are zero. What else
    timm draws at random (a vision transformer's position embedding) stays as the seeded torch
    generator drew it. Measured: a linear probe of tumour in patches of four whole-mount breast
    slides, one slide left out, has AUC 0.89 with a ResNet18 so drawn and 0.78 with timm's start.

    The pointwise half of a separable convolution sees what its depthwise half gave, unrectified.
    With the gain of a rectified input, each of the 34 of Xception enlarges the map by 1.7, and each
    block left as timm starts it by 1.4: features then reach 3e7, and squeeze-and-excitation shuts
    or opens a channel altogether by what is rounding in numbers of that size (Xception-C in float32
    and in float64 differed by 0.5 of the largest feature, so drawn; now by 5e-6).

    torch's normal generator takes other code paths on other processors; whole numbers from PCG64
    and single float64 operations are the same everywhere.

    Args:
        network: on the CPU; changed in place.
    """
    linear = {layer.pointwise for layer in network.modules() if isinstance(layer, SeparableConv2d)}
    closing = {_last_norm(layer) for layer in network.modules() if isinstance(layer, Block)}
    for name, layer in network.named_modules():
        scale = getattr(layer, "gamma", None)
        if isinstance(scale, nn.Parameter):
            scale.fill_(RESIDUAL_SCALE)
        weight = getattr(layer, "weight", None)
        if not isinstance(weight, Tensor):
            continue
        if isinstance(layer, nn.Conv2d | nn.Linear):
            gain = LINEAR_GAIN if layer in linear else CENTRED_RELU_GAIN
            weight.copy_(_centred_uniform(tuple(weight.shape), name, gain))
            if layer.bias is not None:
                layer.bias.zero_()
        elif weight.ndim == 1 and (layer in closing or not weight.any()):
            weight.fill_(RESIDUAL_SCALE)


def _last_norm(block: Block) -> nn.Module:
    return [layer for layer in block.rep if isinstance(layer, nn.BatchNorm2d)][-1]


def _centred_uniform(shape: tuple[int, ...], name: str, gain: float) -> Tensor:
    """Return float32 weights, each output's summing to zero, seeded by the layer's name."""
    outputs, fan_in = shape[0], math.prod(shape[1:])
    weights = np.empty((outputs, fan_in), np.float32)
    generator = np.random.PCG64([SEED, crc32(name.encode())])
    step = math.sqrt(3 * gain / fan_in) / 2**23
    rows = max(1, BLOCK // fan_in)
    for start in range(0, outputs, rows):
        block = weights[start : start + rows]
        raw = np.asarray(generator.random_raw(block.size), np.uint64).reshape(block.shape)
        whole = (raw >> np.uint64(40)).astype(np.int64)  # 24 bits
        if fan_in == 1:  # one weight cannot sum to zero
            block[:] = (whole - 2**23) * step
        else:
            block[:] = (whole * fan_in - whole.sum(axis=1, keepdims=True)) * (step / fan_in)
    return torch.from_numpy(weights.reshape(shape))
