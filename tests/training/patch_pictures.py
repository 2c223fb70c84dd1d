"""Made-up patches of two kinds and an encoder that learns them in a second."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from wsikit.encoders.network import Encoder
from wsikit.encoders.spec import EncoderSpec
from wsikit.heads.am_softmax_classifier import build_patch_classifier
from wsikit.training.patches.data import PatchSide
from wsikit.training.patches.network import PatchNetwork
from wsikit.training.patches.plan import PatchSlide
from wsikit.types import UInt8Image

PX = 16
SPEC = EncoderSpec("tiny", "test_resnet", "", 12, input_px=PX)


def tiny_encoder(seed: int = 0, norm: bool = False) -> Encoder:
    """Two convolutions, an average and a fully connected layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 12),
            nn.ReLU(),
        )
    return Encoder(SPEC, backbone, "random")


def tiny_network(
    method: str = "am-softmax", seed: int = 0, frozen: int = 0, classes: int = 2, norm: bool = False
) -> PatchNetwork:
    """The encoder with a last layer, its start decided by the seed."""
    encoder = tiny_encoder(seed, norm)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = build_patch_classifier(method, encoder.features, classes)
    return PatchNetwork(encoder, classifier, frozen)


def read_patch(slide_id: str, index: int) -> UInt8Image:
    """Noise, finer in patches of odd slides; brightness is each slide's own and tells nothing."""
    number = int(slide_id)
    rng = np.random.default_rng([number, index])
    grain = 1 if number % 2 else 4
    noise = rng.integers(0, 180, (PX // grain, PX // grain, 3), dtype=np.uint8)
    brightness = 20 + 5 * (number * 7 % 11)
    return np.kron(noise, np.ones((grain, grain, 1), np.uint8)) + np.uint8(brightness)


def side_of(
    numbers: Sequence[int], patches: int = 12, labels: Sequence[int] | None = None
) -> PatchSide:
    """The slides of these numbers, labelled by parity unless told otherwise."""
    given = [n % 2 for n in numbers] if labels is None else labels
    slides = [
        PatchSlide(str(n), label, patches + n % 3) for n, label in zip(numbers, given, strict=True)
    ]
    return PatchSide(tuple(slides), read_patch)
