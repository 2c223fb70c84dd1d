"""Views: a patch, changed at random in ways that do not change what it shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from wsikit.training.distillation.options import check_number

View = Callable[[Tensor, Generator], Tensor]
"""Change a batch of patches; a generator on the CPU decides how."""

GREY = (0.299, 0.587, 0.114)
"""What red, green and blue add to brightness (ITU-R BT.601)."""


@dataclass(frozen=True)
class PixelViews:
    """Flip, recolour, turn grey and crop pictures, each picture on its own.

    The source's are flips left to right and top to bottom and colour jitter with probability 0.5
    each, grey with 0.2, and crops of 80 to 100 % of the size, resized back. It gives no strength of
    the jitter. Departures: the crop keeps the square's shape, "size" being its side; the picture is
    resized to the network's side first, so that one resampling does for crop and flip.

    Attributes:
        flip: probability of either flip, 0 to 1.
        jitter: probability of colour jitter.
        strength: of the jitter: brightness, contrast and saturation are multiplied by 1 - strength
            to 1 + strength, and hue turned by up to strength / 4 of a full turn; 0 to 1.
        grey: probability of losing all colour.
        crop: least side of a crop, as a share of the picture's; the most is 1.

    Raises:
        ConfigError: a value is out of range.
    """

    flip: float = 0.5
    jitter: float = 0.5
    strength: float = 0.2
    grey: float = 0.2
    crop: float = 0.8

    def __post_init__(self) -> None:
        for name in ("flip", "jitter", "strength", "grey"):
            check_number(name, getattr(self, name), 0, 1)
        check_number("crop", self.crop, 0.05, 1)

    def __call__(self, pictures: Tensor, generator: Generator, side: int) -> Tensor:
        """Draw one view of each picture.

        Args:
            pictures: (B, 3, H, W) uint8, or floats from 0 to 255.
            generator: on the CPU; the same state gives the same views on every device.
            side: of the views, px.

        Returns:
            (B, 3, side, side) float32 from 0 to 255, where the pictures are.
        """
        drawn = torch.rand(len(pictures), 11, generator=generator).to(pictures.device).unbind(1)
        flips, places = drawn[:2], drawn[2:5]
        jittered, colours, grey = drawn[5], drawn[6:10], drawn[10]
        seen = pictures.float()
        if seen.shape[-2:] != (side, side):
            seen = functional.interpolate(seen, (side, side), mode="bilinear", antialias=True)
        seen = self._cropped(seen, flips, places)
        seen = torch.where(_each(jittered < self.jitter), self._recoloured(seen, colours), seen)
        seen = torch.where(_each(grey < self.grey), _grey(seen).expand_as(seen), seen)
        return seen.clamp(0, 255)

    def _cropped(
        self, pictures: Tensor, flips: tuple[Tensor, ...], places: tuple[Tensor, ...]
    ) -> Tensor:
        """Crop and flip; a crop lies anywhere in the picture."""
        size = self.crop + (1 - self.crop) * places[0]  # (B,)
        axes = pictures.new_zeros(len(pictures), 2, 3)  # each output axis in those of the input
        for axis, (flip, place) in enumerate(zip(flips, places[1:], strict=True)):
            axes[:, axis, axis] = torch.where(flip < self.flip, -size, size)
            axes[:, axis, 2] = (1 - size) * (2 * place - 1)
        grid = functional.affine_grid(axes, list(pictures.shape), align_corners=False)
        return functional.grid_sample(
            pictures, grid, mode="bilinear", padding_mode="border", align_corners=False
        )

    def _recoloured(self, pictures: Tensor, colours: tuple[Tensor, ...]) -> Tensor:
        """Change brightness, contrast, saturation and hue, in this order."""
        brightness, contrast, saturation = (
            _each(1 + self.strength * (2 * draw - 1)) for draw in colours[:3]
        )
        bright = pictures * brightness
        mean = _grey(bright).mean(dim=(2, 3), keepdim=True)
        contrasted = mean + contrast * (bright - mean)
        grey = _grey(contrasted)
        saturated = grey + saturation * (contrasted - grey)
        turn = _hue_turn(2 * math.pi * self.strength / 4 * (2 * colours[3] - 1))  # (B, 3, 3)
        return torch.einsum("bij,bjhw->bihw", turn, saturated)


@dataclass(frozen=True)
class FeatureViews:
    """Add noise to features: the only view where pixels are not looked at again.

    Attributes:
        noise: standard deviation of the noise, as a share of each feature's own over the training
            patches; 0 to 10, 0 for none.

    Raises:
        ConfigError: it is out of range.
    """

    noise: float = 0.1

    def __post_init__(self) -> None:
        check_number("noise", self.noise, 0, 10)

    def __call__(self, features: Tensor, generator: Generator, scale: Tensor) -> Tensor:
        """Draw one view of each patch.

        Args:
            features: (B, D) float32.
            generator: on the CPU.
            scale: (D,) float32, one over each feature's standard deviation; 0 of one that is
                constant, which gets no noise.

        Returns:
            (B, D) float32.
        """
        if not self.noise:
            return features
        drawn = torch.randn(features.shape, generator=generator).to(features.device)
        spread = torch.where(scale > 0, 1 / scale, 0.0)  # (D,)
        return features + self.noise * spread * drawn


def _each(draw: Tensor) -> Tensor:
    """Give one number a picture: (B,) to (B, 1, 1, 1)."""
    return draw[:, None, None, None]


def _grey(pictures: Tensor) -> Tensor:
    weights = pictures.new_tensor(GREY)[None, :, None, None]
    return (pictures * weights).sum(dim=1, keepdim=True)  # (B, 1, H, W)


def _hue_turn(angles: Tensor) -> Tensor:
    """Return the (B, 3, 3) rotations about the grey axis (Rodrigues' formula); grey stays."""
    cosine, sine = angles.cos()[:, None, None], angles.sin()[:, None, None]
    third = 1 / 3
    across = angles.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) * math.sqrt(third)
    identity = torch.eye(3, device=angles.device)
    return cosine * identity + sine * across + (1 - cosine) * third
