"""Grad-CAM: where in a picture a network saw what speaks for a class (Selvaraju et al. 2017)."""

from __future__ import annotations

import numpy as np
import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import Tensor, nn

from wsikit.errors import ConfigError
from wsikit.training.patches.network import PatchNetwork
from wsikit.types import FloatArray


class _Logits(nn.Module):
    """Answer as captum asks: one number a class, of pictures that carry no gradient."""

    def __init__(self, network: PatchNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network(pixels)  # (B, C)
        if logits.shape[1] == 2:  # the same classes by their difference: a fixed logit has no slope
            difference = logits[:, 1:] - logits[:, :1]
            return torch.cat([-difference, difference], dim=1)
        return logits


def grad_cam(network: PatchNetwork, pixels: Tensor, target: int) -> FloatArray:
    """Weigh the last feature map's channels by their mean slope, and keep what is positive.

    The map is that of the last layer whose output has more than one place: behind CBAM or an SE
    block where there is one.

    Args:
        network: in evaluation mode, on the device of `pixels`.
        pixels: (B, 3, H, W) uint8, or float32 from 0 to 255.
        target: number of the class. Of two classes the difference of their logits counts.

    Returns:
        (B, H, W) float32 from 0 to 1, each picture's largest value 1, or 0 where nothing speaks
        for the class; enlarged from the map's own size, bilinear.

    Raises:
        ConfigError: the network has no feature map.
    """
    layer = last_map(network.encoder.backbone, network.encoder.spec.input_px)
    asking = [p for p in network.parameters() if p.requires_grad]
    for parameter in network.parameters():
        parameter.requires_grad_(True)  # else no slope reaches the map of a network that was read
    try:
        cam = LayerGradCam(_Logits(network), layer).attribute(
            pixels.float(), target=target, relu_attributions=True
        )
    finally:
        network.requires_grad_(False)
        for parameter in asking:
            parameter.requires_grad_(True)
    shape = tuple(pixels.shape[-2:])
    large = LayerAttribution.interpolate(cam.detach(), shape, "bilinear")[:, 0]  # (B, H, W)
    maps: FloatArray = large.cpu().numpy().astype(np.float32)
    top = maps.max(axis=(1, 2), keepdims=True)
    shares: FloatArray = np.divide(maps, top, out=np.zeros_like(maps), where=top > 0)
    return shares


def last_map(backbone: nn.Module, side: int) -> nn.Module:
    """Return the last layer whose output has several places.

    Args:
        backbone: from (B, 3, side, side) to features.
        side: of a picture it can see.

    Raises:
        ConfigError: there is none, as in a transformer.
    """
    found: list[nn.Module] = []

    def note(layer: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output[0, 0].numel() > 1:
            found.append(layer)

    hooks = [layer.register_forward_hook(note) for layer in backbone.modules()]
    try:
        first = next(backbone.parameters())
        with torch.inference_mode():
            backbone(torch.zeros(1, 3, side, side, device=first.device))
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise ConfigError("the network has no feature map", "Grad-CAM wants a convolutional one")
    return found[-1]
